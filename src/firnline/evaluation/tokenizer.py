"""What evaluation needs of a tokenizer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Tokenizer(Protocol):
    """Text to ids and back; `end_of_text` stands before a document's first token."""

    @property
    def end_of_text(self) -> int: ...

    @property
    def vocabulary_size(self) -> int: ...

    def encode(self, text: str, /) -> NDArray[np.integer[Any]]: ...

    def decode(self, ids: Any, /) -> str: ...
