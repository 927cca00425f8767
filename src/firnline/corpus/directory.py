"""Folders of code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from firnline.corpus.listing import SKIPPED_FOLDERS, Listing, entry_of, folder_license, walk
from firnline.corpus.parts import as_text
from firnline.errors import FirnlineError


class DirectorySource(BaseModel):
    """A folder; each folder directly under it is a repository, its own files form one more."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["directory"] = "directory"
    path: Path
    """The folder that holds the repositories."""

    def parts(self) -> Iterator[Listing]:
        """Repositories in name order. Symbolic links are listed, never followed."""
        root = self.path.expanduser()
        if not root.is_dir():
            raise FirnlineError(f"no folder {self.path}", mend="check the source's path")
        loose = []
        try:
            below = sorted(os.scandir(root), key=lambda item: os.fsencode(item.name))
        except OSError as error:
            raise FirnlineError(
                f"cannot list {root}: {error.strerror}", mend="check its permissions"
            ) from error
        for item in below:
            if not item.is_dir(follow_symlinks=False):
                loose.append(entry_of(str(root), item.name))
            elif item.name not in SKIPPED_FOLDERS:
                folder = Path(item.path)
                repository = _repository(folder, item.name)
                yield from repository.cut(walk(folder, license=repository.license))
        yield from _repository(root, root.resolve().name).cut(loose)


def _repository(folder: Path, name: str) -> Listing:
    return Listing("directory", as_text(name), "", folder_license(folder), str(folder))
