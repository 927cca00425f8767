"""Edit INI files without disturbing what people wrote in them.

``configparser`` loses comments, blank lines and the order of things when it writes a
file back.  A program that changes one setting in a hand-written file should change
one line.  ``Document`` therefore keeps every line as it is and notes what it means;
an edit replaces, inserts or removes single lines, and unchanged files come out
byte for byte as they went in, including their line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SECTION = re.compile(r"\s*\[(?P<name>[^\]\r\n]+)\]\s*(?:[;#].*)?\s*")
_ENTRY = re.compile(
    r"(?P<before>\s*(?P<key>[^=:\s;#\[][^=:]*?)\s*[=:][ \t]*)"
    r"(?P<value>.*?)(?P<after>\s+[;#].*|\s*)",
    re.DOTALL,
)


@dataclass
class Line:
    """One line with its line end, and what it means, if anything."""

    text: str
    section: str
    key: str | None = None
    value: str = ""
    is_header: bool = False


class Document:
    """An INI file that can be edited in place.

    >>> doc = Document("[a]\\nx = 1  ; the size\\n")
    >>> doc.set("a", "x", "2")
    >>> str(doc)
    '[a]\\nx = 2  ; the size\\n'
    """

    def __init__(self, text: str = "") -> None:
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._lines: list[Line] = []
        section = ""
        for number, line in enumerate(text.splitlines(keepends=True), start=1):
            parsed = self._parse(line, section, number)
            section = parsed.section
            self._lines.append(parsed)

    @staticmethod
    def _parse(text: str, section: str, number: int) -> Line:
        if not text.strip() or text.lstrip()[0] in ";#":
            return Line(text, section)
        if match := _SECTION.fullmatch(text):
            return Line(text, match["name"].strip(), is_header=True)
        if match := _ENTRY.fullmatch(text):
            return Line(text, section, match["key"].lower(), match["value"])
        raise ValueError(f"line {number}: cannot read {text.strip()!r}")

    def __str__(self) -> str:
        return "".join(line.text for line in self._lines)

    def _find(self, section: str, key: str) -> int | None:
        """Return the index of the last entry with this key: it is the one in force."""
        for index in range(len(self._lines) - 1, -1, -1):
            line = self._lines[index]
            if line.section == section and line.key == key.lower():
                return index
        return None

    def get(self, section: str, key: str, default: str | None = None) -> str | None:
        index = self._find(section, key)
        return default if index is None else self._lines[index].value

    def items(self, section: str) -> Iterator[tuple[str, str]]:
        """Yield the entries in force, in the order of the file."""
        for index, line in enumerate(self._lines):
            if line.key is not None and self._find(section, line.key) == index:
                yield line.key, line.value

    def set(self, section: str, key: str, value: str) -> None:
        """Change an entry, or add it at the end of its section."""
        if re.search(r"[\r\n]|(?:^|\s)[;#]", value) or value != value.strip():
            raise ValueError(f"{value!r} would not survive in an INI file")
        index = self._find(section, key)
        if index is not None:
            line = self._lines[index]
            match = _ENTRY.fullmatch(line.text)
            assert match is not None, "it was matched when the file was read"
            line.text, line.value = match["before"] + value + match["after"], value
            return
        new = self._parse(f"{key} = {value}{self._newline}", section, 0)
        if new.key != key.lower() or new.value != value:
            raise ValueError(f"{key!r} cannot be a key")
        self._lines.insert(self._end_of(section), new)

    def _end_of(self, section: str) -> int:
        telling = [
            index
            for index, line in enumerate(self._lines)
            if line.section == section and (line.key is not None or line.is_header)
        ]
        if self._lines and not self._lines[-1].text.endswith("\n"):
            self._lines[-1].text += self._newline
        if telling or not section:
            return telling[-1] + 1 if telling else 0
        if self._lines:
            self._lines.append(Line(self._newline, self._lines[-1].section))
        self._lines.append(Line(f"[{section}]{self._newline}", section, is_header=True))
        return len(self._lines)

    def remove(self, section: str, key: str) -> bool:
        """Remove all entries with this key and return whether there were any."""
        wanted, before = (section, key.lower()), len(self._lines)
        self._lines = [line for line in self._lines if (line.section, line.key) != wanted]
        return len(self._lines) < before


SAMPLE = """\
; written by hand, please keep
title=The   Mill
[paths]
  data : /srv/data   # big disk
Cache =

# old settings below
[net] ; all about the network
port = 80
port = 8080
"""

if __name__ == "__main__":
    for text in (SAMPLE, SAMPLE.replace("\n", "\r\n"), SAMPLE.rstrip("\n"), ""):
        assert str(Document(text)) == text

    doc = Document(SAMPLE)
    assert doc.get("", "title") == "The   Mill"
    assert doc.get("paths", "cache") == "" and doc.get("paths", "nosuch") is None
    assert dict(doc.items("net")) == {"port": "8080"}

    doc.set("paths", "DATA", "/mnt/data")
    doc.set("paths", "temp", "/tmp")
    doc.set("net", "port", "443")
    doc.set("log", "level", "info")
    print(doc)
    changed = set(str(doc).splitlines()) ^ set(SAMPLE.splitlines())
    assert changed == {
        "  data : /srv/data   # big disk", "  data : /mnt/data   # big disk",
        "temp = /tmp", "port = 8080", "port = 443", "[log]", "level = info",
    }
    assert str(doc).index("temp") < str(doc).index("# old settings")
    assert doc.remove("net", "port") and doc.get("net", "port") is None
    for key, value in (("x", "two\nlines"), ("x", "a # b"), ("a=b", "1"), ("[x]", "1")):
        try:
            doc.set("net", key, value)
        except ValueError as error:
            print("refused:", error)
