"""A file's language, with a content model (magika) where its name does not tell.

The model ships inside its package and runs on one thread; it reads the first and the last KiB of
a file. It costs about 5 ms a file, measured, and batches are slower, so files are asked about one
by one and only where name, `#!` line and the signs of `shared_extensions` leave the matter open.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import Any

from firnline.languages import LANGUAGES, candidates

# The model's names where they are not ours but for case.
_LABELS = {
    "asm": "Assembly",
    "batch": "Batchfile",
    "cpp": "C++",
    "cs": "C#",
    "gemfile": "Ruby",
    "gemspec": "Ruby",
    "gradle": "Groovy",
    "ipynb": "Jupyter Notebook",
    "lisp": "Common Lisp",
    "objectivec": "Objective-C",
    "proto": "Protocol Buffers",
    "rst": "reStructuredText",
    "scss": "CSS",
    "vba": "Visual Basic",
}
_BY_LABEL = {name.lower(): name for name in LANGUAGES} | _LABELS

# Of a file without an extension, the kinds that the model's word is taken for. Prose is not: a
# license, a list of authors and a change log are no documents.
_KINDS = ("programming", "markup")


def language_of(path: str, content: bytes) -> str | None:
    """The language of a file from its name, its head, and where these are not enough, the model.

    `content` is the whole file. None where nothing tells. The same for the same input on every
    machine: the model runs on one thread, and its answer counts only above its own threshold.
    """
    found = candidates(path, content)
    if len(found) == 1:
        return found[0]
    if b"\0" in content[:4096]:
        return found[0] if found else None  # not text: the ledger says `binary`
    if found:
        label = _model_says(content)
        return label if label in found else None
    if PurePosixPath(path).suffix:
        return None
    label = _model_says(content)
    if label == "C":  # it takes much C++ for C; the signs of a header know better
        label = candidates("it.h", content)[0]
    return label if label and LANGUAGES[label].kind in _KINDS else None


def _model_says(content: bytes) -> str | None:
    return _BY_LABEL.get(str(_model().identify_bytes(content).output.label))


@cache
def _model() -> Any:
    """The model, loaded at its first use in a process (0.4 s)."""
    import onnxruntime  # type: ignore[import-untyped]  # ships no types
    from magika import Magika

    model = Magika()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # There is no public way to give the options; the default takes every core for each worker.
    model._onnx_session = onnxruntime.InferenceSession(
        model._model_path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    return model
