"""How well tokenizers fit a corpus: bytes for each token by language, side by side."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from firnline.documents import document_shards
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.train import Sample, TokenizerConfig

ALL = "all"


class Compression(NamedTuple):
    """One tokenizer on the documents of one language, or of all (`language` is then `all`)."""

    tokenizer: str
    language: str
    documents: int
    bytes: int
    tokens: int
    """Without end tokens."""
    single_byte_tokens: int
    """Tokens of one byte: what no merge covers, and what is one character anyway, as `(`."""
    seconds: float | None
    """Time to encode them with all cores, in the row of all languages."""

    @property
    def bytes_per_token(self) -> float:
        """Higher is better: fewer tokens for the same text."""
        return self.bytes / max(self.tokens, 1)

    @property
    def single_byte_share(self) -> float:
        """Share of the text, in bytes, that single-byte tokens make up."""
        return self.single_byte_tokens / max(self.bytes, 1)


def report(
    tokenizers: Mapping[str, Path],
    documents: Path,
    *,
    sample_mib: float = 20.0,
    splits: Sequence[str] = ("train",),
    seed: int = 0,
) -> list[Compression]:
    """A row for each tokenizer (name and folder) and language, by language, `all` first.

    All tokenizers encode the same documents: about `sample_mib` of each language's share of the
    corpus, chosen by hash. Raises FirnlineError where there are none, or where a folder holds no
    tokenizer.
    """
    loaded = {name: Tokenizer.load(folder) for name, folder in tokenizers.items()}
    single = {name: _single_bytes(tokenizer) for name, tokenizer in loaded.items()}
    config = TokenizerConfig(sample_mib=sample_mib, splits=tuple(splits), seed=seed)
    counts: dict[tuple[str, str], Counter[str]] = {}
    seconds = dict.fromkeys(loaded, 0.0)
    for batch in Sample(config, document_shards(documents)):
        languages = np.array(batch.column("language").to_pylist(), dtype=object)
        sizes = pc.binary_length(batch.column("content")).to_numpy()
        for name, tokenizer in loaded.items():
            started = time.perf_counter()
            ids, ends = tokenizer.encode_batch(batch.column("content"))
            seconds[name] += time.perf_counter() - started
            singles = np.concatenate(([0], np.cumsum(single[name][ids])))
            each = {
                "bytes": sizes,
                "tokens": np.diff(ends),
                "single_byte_tokens": np.diff(singles[ends]),
            }
            for language in (ALL, *sorted(set(languages))):
                chosen = languages == language if language != ALL else np.ones(len(sizes), np.bool_)
                found = counts.setdefault((language, name), Counter())
                found["documents"] += int(chosen.sum())
                found.update({what: int(values[chosen].sum()) for what, values in each.items()})
    in_order = [ALL, *sorted({language for language, _ in counts} - {ALL})]
    return [
        Compression(name, language, **counts[language, name], seconds=seconds[name])
        if language == ALL
        else Compression(name, language, **counts[language, name], seconds=None)
        for language in in_order
        for name in loaded
    ]


def table(rows: Sequence[Compression]) -> list[list[str]]:
    """The rows side by side: a head, then a line for each language, then MB/s of encoding.

    Each tokenizer has two columns: bytes for each token, and the share of single-byte tokens.
    """
    names = list(dict.fromkeys(row.tokenizer for row in rows))
    head = ["language", "documents", "MB"]
    for name in names:
        head += [f"{name}: bytes/token", "single bytes"]
    lines: dict[str, list[str]] = {}
    speed = ["MB/s", "", ""]
    for row in rows:
        start = [row.language, f"{row.documents:,}", f"{row.bytes / 1e6:,.2f}"]
        line = lines.setdefault(row.language, start)
        line += [f"{row.bytes_per_token:.3f}", f"{row.single_byte_share:.1%}"]
        if row.seconds is not None:
            speed += [f"{row.bytes / 1e6 / max(row.seconds, 1e-9):,.0f}", ""]
    return [head, *lines.values(), speed]


def _single_bytes(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    table: npt.NDArray[Any] = np.zeros(tokenizer.vocabulary_size, dtype=np.bool_)
    table[[number for number, data in tokenizer.token_bytes.items() if len(data) == 1]] = True
    return table
