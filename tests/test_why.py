"""`firnline why`: kept and dropped documents, however they are named, and when they trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline import recipe
from firnline.documents import read_columns
from firnline.errors import FirnlineError
from firnline.tokens.samples import Samples
from firnline.why import MOST, why


def one(run: Path, wanted: str) -> dict[str, Any]:
    (found,) = why(run, wanted)
    json.dumps(found)  # plain values
    return found


def stages(document: dict[str, Any]) -> dict[str, Any]:
    return {row["stage"]: row for row in document["stages"]}


def test_a_kept_document_has_a_row_in_every_ledger_it_met(tiny_run: Path) -> None:
    found = one(tiny_run, "json/encoder.py")
    assert (found["repo"], found["path"]) == ("json", "encoder.py")
    rows = stages(found)
    assert list(rows) == ["ingest", "curate", "annotate", "select-beta"]
    assert rows["ingest"]["kept"] and rows["curate"]["kept"] and rows["curate"]["rule"] is None
    text = (tiny_run.parent / "code" / "json" / "encoder.py").read_text()
    assert rows["curate"]["longest_line"] == max(map(len, text.splitlines()))
    assert 0 <= rows["annotate"]["score"] <= 1


def test_a_dropped_document_has_its_rule_and_what_it_duplicates(tiny_run: Path) -> None:
    pair = [one(tiny_run, "planted/copied.py"), one(tiny_run, "json/decoder.py")]
    dropped, kept = sorted(pair, key=lambda found: stages(found)["curate"]["kept"])
    row = stages(dropped)["curate"]
    assert row["rule"] == "exact_duplicate"
    assert kept["id"] in row["detail"] or kept["path"] in row["detail"]
    assert dropped["tokens"] == dropped["phases"] == []
    assert list(stages(dropped)) == ["ingest", "curate"]


def test_a_file_that_was_never_read_is_explained(tiny_run: Path) -> None:
    found = one(tiny_run, "planted/empty.py")
    assert [(row["stage"], row["rule"]) for row in found["stages"]] == [("ingest", "empty")]


@pytest.mark.parametrize(
    "name", ["json/encoder.py", "/json/encoder.py", "encoder.py", "ID", "ID in capitals"]
)
def test_names_of_the_same_document(tiny_run: Path, name: str) -> None:
    expected = one(tiny_run, "json/encoder.py")
    name = name.replace("ID in capitals", expected["id"].upper()).replace("ID", expected["id"])
    found = why(tiny_run, name)
    assert expected in found
    assert {document["path"].split("/")[-1] for document in found} == {"encoder.py"}


def test_an_end_matches_whole_names_only(tiny_run: Path) -> None:
    with pytest.raises(FirnlineError, match=r"is called 'coder\.py'"):
        why(tiny_run, "coder.py")


def test_synthetic_documents_lead_to_their_seed_and_their_phase(tiny_run: Path) -> None:
    ledger = pq.read_table(tiny_run / "synthesize" / "ledger")
    index = read_columns([tiny_run / "pack-final" / "index.parquet"], ["id"])["id"].to_pylist()
    used = next(row for row in ledger.to_pylist() if row["id"] in index)
    found = one(tiny_run, used["path"])
    assert stages(found)["synthesize"]["seed_path"] == used["seed_path"]
    assert {row["folder"] for row in found["tokens"]} == {"pack-synthetic", "pack-final"}
    assert [row["phase"] for row in found["phases"]] == ["final"]
    assert found["phases"][0]["samples"] > 0


def test_phases_name_the_steps_that_trained_on_it(tiny_recipe: Path, tiny_run: Path) -> None:
    """Held against a scan of every sample of every phase."""
    document = read_columns([tiny_run / "pack-beta" / "index.parquet"], ["id"])["id"][0].as_py()
    expected = []
    for phase in recipe.load(str(tiny_recipe)).phases:
        if phase.name == "final":
            continue
        folder = tiny_run / ("pack-beta" if phase.name == "beta" else "pack-corpus")
        length = phase.training.sequence_length
        samples = Samples(folder, sequence_length=length, seed=1, phase=phase.name)
        hit = [
            number
            for number in range(phase.training.samples)
            if document in {piece.id for piece in samples.documents(number)}
        ]
        steps = sorted({number // phase.training.batch_sequences + 1 for number in hit})
        total = phase.training.steps
        expected.append(
            {"phase": phase.name, "samples": len(hit), "steps": steps[:10], "of_steps": total}
        )
    assert expected[1]["samples"] > 1  # beta repeats its documents
    assert one(tiny_run, document.hex())["phases"] == expected


def test_a_run_of_documents_from_elsewhere_is_explained(tiny_run: Path, tmp_path: Path) -> None:
    """No ingest of ours: names come from the ledger and the data."""
    shutil.copytree(tiny_run / "curate", tmp_path / "run" / "curate")
    assert one(tmp_path / "run", "json/encoder.py")["path"] == "encoder.py"
    ledger = pq.read_table(tiny_run / "curate" / "ledger")
    dropped = next(row for row in ledger.to_pylist() if not row["kept"])
    found = one(tmp_path / "run", dropped["id"].hex())
    assert (found["repo"], found["path"]) == (dropped["repo"], dropped["path"])
    assert stages(found)["curate"]["rule"] == dropped["rule"]


def test_several_documents_of_one_name_are_explained_one_by_one(tiny_run: Path) -> None:
    table = pq.read_table(tiny_run / "ingest" / "ledger").to_pylist()
    found = why(tiny_run, "__init__.py")  # whole paths, not the ends of longer ones
    repos = [row["repo"] for row in table if row["path"] == "__init__.py"]
    assert sorted(row["repo"] for row in found) == sorted(repos)
    assert len(repos) > 3
    found = why(tiny_run, "etree/__init__.py")
    assert [(row["repo"], row["path"]) for row in found] == [("xml", "etree/__init__.py")]


def test_no_more_than_twenty_are_explained(
    tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run / "ingest", tmp_path / "run" / "ingest")
    shard = tmp_path / "run" / "ingest" / "ledger" / "shard-00000.parquet"
    table = pq.read_table(shard)
    paths = pa.array([f"{n}/same.py" for n in range(len(table))])
    pq.write_table(table.set_column(table.column_names.index("path"), "path", paths), shard)
    assert len(why(tmp_path / "run", "same.py")) == MOST
    assert f"{len(table)} documents are called 'same.py'" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["absent.py", "0" * 32, "", "/"])
def test_what_is_not_there_is_one_line(tiny_run: Path, wanted: str) -> None:
    with pytest.raises(FirnlineError, match="is called") as caught:
        why(tiny_run, wanted)
    assert len(str(caught.value).splitlines()) == 1


def test_folders_that_are_no_run_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no run folder"):
        why(tmp_path / "absent", "x.py")
    with pytest.raises(FirnlineError, match="no finished stage"):
        why(tmp_path, "x.py")
