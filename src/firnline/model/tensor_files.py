"""Safetensors files, a tensor at a time: neither reader nor writer ever holds a whole model.

The package's own `save_file` wants all tensors of a file at once. The format is small: the length
of a header (8 bytes, little endian), the header in JSON (name to dtype, shape and place), the
bytes of the tensors. What is written here is what `save_file` writes, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from firnline.documents import atomic_path
from firnline.errors import FirnlineError

# In the order that a file has them.
_DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class TensorFiles:
    """The tensors of some safetensors files, to be read by name, and only the rows asked for.

    Raises FirnlineError where a file is missing or cut short.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.shapes: dict[str, torch.Size] = {}
        self._places: dict[str, Path] = {}
        for path in paths:
            with _opened(path) as file:
                for name in file.keys():  # noqa: SIM118  # it is no mapping
                    self.shapes[name] = torch.Size(file.get_slice(name).get_shape())
                    self._places[name] = path

    def rows(self, name: str, rows: slice) -> Tensor:
        """Some rows of a tensor, as the file has them."""
        # Opened each time: pages that were read do not pile up in this process's memory.
        with _opened(self._places[name]) as file:
            tensor: Tensor = file.get_slice(name)[rows]
        return tensor


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise FirnlineError(f"no such file: {path}", mend="check the path") from None
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FirnlineError(
            f"{path} is cut short or is not safetensors: {reason}", mend="copy or save it again"
        ) from None


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], read: Callable[[str], Tensor] | None = None
) -> None:
    """Writes a safetensors file whole or not at all.

    `tensors` gives dtype and shape of each, and may be on the meta device if `read` gives the
    values: it is called for each name once, in `file_order`.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in file_order(tensors):
        tensor, start = tensors[name], end
        end += tensor.nbytes
        kind, shape = _DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in file_order(tensors):
            tensor = (read(name) if read else tensors[name]).detach()
            # As bytes, because NumPy has no bfloat16.
            file.write(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


def file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names as a safetensors file has them: largest types first, then by name."""
    order = list(_DTYPES)
    return sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
