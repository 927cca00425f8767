"""`key=value` settings, counts with suffixes, merging, and every complaint at once."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from firnline.errors import FirnlineError
from firnline.settings import Count, make, merge, parse_settings, read_count, read_yaml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    depth: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tokens: Count = 1
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "count"),
    [("500B", 500_000_000_000), ("12.5b", 12_500_000_000), ("400k", 400_000), ("1.5M", 1_500_000)],
)
def test_counts_have_suffixes(text: str, count: int) -> None:
    assert read_count(text) == count
    assert make(Outer, {"tokens": text}).tokens == count


def test_other_values_are_left_alone() -> None:
    assert read_count("1.2345k") == "1.2345k"  # not a whole number
    assert read_count("many") == "many"
    assert read_count(7) == 7


def test_settings_are_yaml_values_in_nested_mappings() -> None:
    assert parse_settings(["a.b=3", "a.c=[x, y]", "d=1e-3", "e="]) == {
        "a": {"b": 3, "c": ["x", "y"]},
        "d": "1e-3",  # YAML 1.1 reads no float here; pydantic does
        "e": None,
    }


def test_off_is_a_word_and_true_is_not() -> None:
    text = "off: [vendored]\nsyntax: off\nwandb: on\nno: yes\ncompile: true\nkeep: False\n"
    assert read_yaml(text) == {
        "off": ["vendored"],
        "syntax": "off",
        "wandb": "on",
        "no": "yes",
        "compile": True,
        "keep": False,
    }
    assert parse_settings(["curate.syntax=off", "curate.off=[vendored]"]) == {
        "curate": {"syntax": "off", "off": ["vendored"]}
    }


def test_every_malformed_setting_is_named() -> None:
    with pytest.raises(FirnlineError) as caught:
        parse_settings(["alone", "a=1", "a.b=2", "=3", "c=[1"])
    for text in ("'alone'", "a has a value", "'=3'", "'c=[1'"):
        assert text in str(caught.value)


def test_merge_goes_key_by_key_and_replaces_lists() -> None:
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge(below, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_complaints_name_each_key() -> None:
    with pytest.raises(FirnlineError) as caught:
        make(Outer, {"tokens": "many", "inner": {"depth": "deep"}, "other": 1})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("3 mistakes")
    assert any(line.strip().startswith("tokens: ") and "'many'" in line for line in lines)
    assert any(line.strip().startswith("inner.depth: ") for line in lines)
    assert "  other: no such key" in lines
