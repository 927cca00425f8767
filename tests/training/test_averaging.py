"""Means of checkpoints against plain sums, from every kind of folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig
from firnline.model.llama import Llama
from firnline.training.averaging import AveragingConfig
from firnline.training.checkpoint_mean import (
    CheckpointWeights,
    HeldWeights,
    StateWeights,
    Weights,
    average_checkpoints,
    mean,
)

SHAPE = ModelConfig(
    vocabulary_size=61, hidden=16, ffn_hidden=24, layers=1, heads=2, kv_heads=1, context=32
)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three checkpoints of one model at different steps."""
    found = []
    for step in range(3):
        folder = tmp_path / f"step-{step}"
        checkpoint.save(Llama(SHAPE).initialise(step), folder, {"phase": "alpha", "step": step})
        (folder / "tokenizer.json").write_text(json.dumps({"of": step}))
        found.append(folder)
    return found


def tensors(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_mean_of_checkpoints_opens_as_a_checkpoint(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "mean"
    average_checkpoints(folders, out)
    found = checkpoint.load(out).state_dict()
    each = [checkpoint.load(folder).state_dict() for folder in folders]
    for name, tensor in found.items():
        expected = sum(other[name].double() / 3 for other in each)
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(tensor, expected.float(), rtol=0, atol=1e-8)
    assert json.loads((out / "tokenizer.json").read_text()) == {"of": 2}
    about = json.loads((out / "training.json").read_text())
    assert (about["phase"], about["step"]) == ("alpha", 2)
    assert [row["checkpoint"] for row in about["averaged"]] == ["step-0", "step-1", "step-2"]
    again = tmp_path / "again"
    average_checkpoints(folders, again)
    same = [(folder / "model.safetensors").read_bytes() for folder in (out, again)]
    assert same[0] == same[1]


def test_equal_checkpoints_have_themselves_as_mean(folders: list[Path], tmp_path: Path) -> None:
    average_checkpoints([folders[0]] * 7, tmp_path / "mean")
    expected = tensors(folders[0])
    for name, tensor in tensors(tmp_path / "mean").items():
        assert torch.equal(tensor, expected[name])


def test_coefficients_of_a_moving_average() -> None:
    """e <- d e + (1 - d) w, begun with the first, forgets it as d^age."""
    assert AveragingConfig(last=4).coefficients(4) == [0.25] * 4
    found = AveragingConfig(last=3, decay=0.5).coefficients(3)
    assert found == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    values, average, weight = [3.0, -1.0, 10.0, 4.0], 0.0, 0.0
    for value in values:  # with the correction for its beginning, as Adam's
        average, weight = 0.9 * average + 0.1 * value, 0.9 * weight + 0.1
    shares = AveragingConfig(last=4, decay=0.9).coefficients(4)
    expected = average / weight
    assert sum(s * v for s, v in zip(shares, values, strict=True)) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_states_and_a_model_in_memory(folders: list[Path], tmp_path: Path) -> None:
    weights = [tensors(folder) for folder in folders]
    state = tmp_path / "step-0000000004"
    stored = {f"model.{name}": tensor for name, tensor in weights[0].items()}
    stored["optimizer.exp_avg.model.norm.weight"] = torch.ones(3)
    save(stored, storage_writer=FileSystemWriter(state), no_dist=True)
    sources: list[Weights] = [
        StateWeights(state),
        CheckpointWeights(folders[1]),
        HeldWeights(weights[2]),
    ]
    found = mean(sources, [0.2, 0.3, 0.5])
    assert found.keys() == weights[0].keys()
    for name, tensor in found.items():
        parts = zip((0.2, 0.3, 0.5), weights, strict=True)
        expected = sum(share * other[name].double() for share, other in parts)
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(tensor, expected.float(), rtol=0, atol=1e-8)


def test_weights_in_several_files_and_types(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        first = {"half": torch.full((2, 2), number, dtype=torch.bfloat16)}
        save_file(first, folder / "model-00001-of-00002.safetensors")
        second = {"count": torch.tensor([number]), "full": torch.full((3,), float(number))}
        save_file(second, folder / "model-00002-of-00002.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "any", "dtype": number}))
    average_checkpoints([tmp_path / "1", tmp_path / "2"], tmp_path / "mean")
    found = tensors(tmp_path / "mean")
    assert found["half"].dtype == torch.bfloat16
    assert found["half"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert found["full"].tolist() == [1.5, 1.5, 1.5]
    assert found["count"].tolist() == [2]  # counts are the last one's


def test_others_are_refused(folders: list[Path], tmp_path: Path) -> None:
    wider = tmp_path / "wider"
    checkpoint.save(Llama(SHAPE.model_copy(update={"ffn_hidden": 26})).initialise(0), wider)
    out = tmp_path / "mean"
    with pytest.raises(FirnlineError, match=r"wider has intermediate_size 26, .*step-0 24"):
        average_checkpoints([wider, folders[0]], out)
    with pytest.raises(FirnlineError, match=r"down_proj.weight \[16, 26\], .* \[16, 24\]"):
        mean([CheckpointWeights(wider), CheckpointWeights(folders[0])], [0.5, 0.5])
    fewer = HeldWeights({"one": torch.ones(1)}, "this")
    with pytest.raises(FirnlineError, match=r"this has no more, that has more \[2\]"):
        both = {"one": torch.ones(1), "more": torch.ones(2)}
        mean([fewer, HeldWeights(both, "that")], [0.5, 0.5])
    with pytest.raises(FirnlineError, match="no checkpoints"):
        average_checkpoints([], out)
    with pytest.raises(FirnlineError, match="not a checkpoint"):
        average_checkpoints([tmp_path / "absent"], out)
    with pytest.raises(FirnlineError, match="step-0 is not empty"):
        average_checkpoints(folders, folders[0])
    with pytest.raises(ValueError, match=r"sum to 0\.9"):
        mean([fewer, fewer], [0.5, 0.4])
    with pytest.raises(ValueError, match="1 sources and 2"):
        mean([fewer], [0.5, 0.5])
    assert not out.exists()
    with pytest.raises(FirnlineError, match="is not a state"):
        StateWeights(tmp_path)


def test_a_file_cut_short_is_refused(folders: list[Path], tmp_path: Path) -> None:
    path = folders[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FirnlineError, match=r"step-1/model\.safetensors is cut short"):
        average_checkpoints(folders, tmp_path / "mean")
    (folders[1] / "model.safetensors").unlink()
    with pytest.raises(FirnlineError, match="step-1 holds no"):
        average_checkpoints(folders, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_meaningless_config_is_refused() -> None:
    for settings in ({"last": 1}, {"last": 2, "decay": 1.0}, {"last": 2, "first": 3}):
        with pytest.raises(ValidationError):
            AveragingConfig.model_validate(settings)
