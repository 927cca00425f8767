"""The `model` section of a recipe: a decoder, or an encoder-decoder or encoder, by its shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firnline.errors import FirnlineError
from firnline.model.presets import PRESETS
from firnline.training.objectives import shapes

Raw = dict[str, Any]


def read_shape(
    values: Any, entries: int | None, trained: int | None, mistakes: list[str]
) -> Raw | None:
    """The fields of a `ModelShape`, which has a `family`, or of a `ModelConfig`.

    They come from a preset, or from a checkpoint's config, and what is written goes over them.
    `entries` are those of a tokenizer from elsewhere, `trained` of one that is trained here. What
    is wrong is added to `mistakes`; None where there is no shape then.
    """
    if not isinstance(values, Mapping):
        mistakes.append("model: a mapping with a preset or a shape")
        return None
    own = {key: value for key, value in values.items() if key not in ("preset", "checkpoint")}
    preset, folder = values.get("preset"), values.get("checkpoint")
    shape: Raw = {}
    if preset:
        # `tiny` is there of every family.
        family = values.get("family")
        name = f"tiny-{family}" if family and preset == "tiny" else preset
        presets = shapes.PRESETS if family else {**PRESETS, **shapes.PRESETS}
        if name not in presets:
            known = ", ".join(sorted(presets))
            mistakes.append(f"model.preset: no preset {name!r}, there are {known}")
            return None
        shape = presets[name].model_dump()
    if folder:
        try:
            shape = _checkpoint(Path(str(folder)).expanduser())
        except FirnlineError as error:
            mistakes.append(f"model.checkpoint: {error}")
            return None
    if (family := own.get("family") or shape.get("family")) is not None:
        if shape and shape.get("family") != family:
            mistakes.append(f"model.family: {family}, the shape is of {shape.get('family')}")
            return None
        if "vocabulary_size" in own:
            mistakes.append("model.vocabulary_size: it is the tokenizer's, leave it out")
            del own["vocabulary_size"]
        return {**shape, **own}
    if entries is not None:  # rows beyond it are a public model's spare ones
        size = own.setdefault("vocabulary_size", shape["vocabulary_size"] if folder else entries)
        if isinstance(size, int) and size < entries:
            mistakes.append(
                f"model.vocabulary_size: {size:,} is less than the tokenizer's {entries:,}"
            )
    elif trained is not None:
        if "vocabulary_size" in own:
            mistakes.append("model.vocabulary_size: it is the tokenizer's, leave it out")
        own["vocabulary_size"] = trained
    return {**shape, **own}


def _checkpoint(folder: Path) -> Raw:
    if (encoder := shapes.read_shape(folder)) is not None:
        return encoder.model_dump()
    from firnline.model.checkpoint import read_config  # imports torch

    return read_config(folder).model_dump()
