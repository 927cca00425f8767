"""Which file of its own repository an import means."""

from __future__ import annotations

from firnline.curate.finders import FINDERS, REMEMBERED, Finder
from firnline.curate.repository import Repository, folder_of


class Resolver:
    """Finds what the imports of one repository mean.

    A result below `len(repository.paths)` is a file; others are sets of files (a package, a
    namespace): entry `result - len(repository.paths)` of `sets`.
    """

    def __init__(self, repository: Repository) -> None:
        self.sets: list[tuple[int, ...]] = []
        self._repository = repository
        self._set_numbers: dict[tuple[int, ...], int] = {}
        self._finders: dict[str, Finder] = {}
        self._known: dict[tuple[str, str, str], int | None] = {}

    def find(self, file: int, name: str) -> int | None:
        """The file or set that `name` means in `file`; None where it is not of this repository."""
        language = self._repository.languages[file]
        folder = folder_of(self._repository.paths[file])
        # All files of a folder mean the same by a name, but for Rust, where a file is a module.
        place = self._repository.paths[file] if language == "Rust" else folder
        key = (language, place, name)
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = self._number(self._finder(language)(file, folder, name))
        return self._known[key]

    def members(self, found: int) -> tuple[int, ...]:
        """The files of a set, in order; none for a file."""
        place = found - len(self._repository.paths)
        return self.sets[place] if place >= 0 else ()

    def _finder(self, language: str) -> Finder:
        if language not in self._finders:
            self._finders[language] = FINDERS[language](self._repository)
        return self._finders[language]

    def _number(self, found: int | list[int] | None) -> int | None:
        if not isinstance(found, list):
            return found
        if len(found) == 1:
            return found[0]
        members = tuple(found)
        if members not in self._set_numbers:
            self._set_numbers[members] = len(self._repository.paths) + len(self.sets)
            self.sets.append(members)
        return self._set_numbers[members]
