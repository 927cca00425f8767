"""The table of bytes for each token, against counts made a document at a time."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tokenizers

from firnline.errors import FirnlineError
from firnline.tokens.compression import ALL, report, table
from firnline.tokens.extend import ExtendConfig
from firnline.tokens.extend import run as extend


def test_counts_are_those_of_tokenizers(
    tokenizer_folder: Path, reference: tokenizers.Tokenizer, corpus: Path, tmp_path: Path
) -> None:
    extend(ExtendConfig(tokens=("<note>",)), tokenizer_folder, tmp_path / "more")
    rows = report({"one": tokenizer_folder, "two": tmp_path / "more"}, corpus)
    expected: dict[str, list[int]] = {}
    single = {
        reference.token_to_id(token)
        for token in reference.get_vocab()
        if len(token) == 1  # byte-level BPE writes a byte as one character
    }
    for path in sorted((corpus / "data").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row["split"] != "train":
                continue
            ids = reference.encode(row["content"]).ids
            new = (1, row["size"], len(ids), sum(i in single for i in ids))
            for language in (ALL, row["language"]):
                old = expected.setdefault(language, [0] * 4)
                expected[language] = [a + b for a, b in zip(old, new, strict=True)]
    for name in ("one", "two"):
        found = {row.language: list(row[2:6]) for row in rows if row.tokenizer == name}
        assert found == expected
    assert [row.language for row in rows[::2]] == [ALL, *sorted(expected.keys() - {ALL})]
    first = rows[0]
    assert first.bytes_per_token == first.bytes / first.tokens
    assert first.single_byte_share == first.single_byte_tokens / first.bytes
    assert [row.seconds is None for row in rows[:4]] == [False, False, True, True]

    head, *lines = table(rows)
    assert head[3::2] == ["one: bytes/token", "two: bytes/token"]
    assert {len(line) for line in lines} == {len(head)}
    assert lines[0][:2] == [ALL, str(first.documents)]
    assert lines[0][3] == lines[0][5] == f"{first.bytes_per_token:.3f}"


def test_a_folder_without_a_tokenizer_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match=r"no tokenizer\.json"):
        report({"none": tmp_path}, corpus)
