"""HTML of posts as plain text: paragraphs, lists, quotes, and code kept to the letter."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_BLOCKS = frozenset(
    {
        *("p", "div", "pre", "blockquote", "ul", "ol", "li", "table", "tr", "hr", "br", "dl"),
        *("dt", "dd", "section", *_HEADINGS),
    }
)
_ITEM = re.compile(r"(?:> )*(?:- |\d+\. )")
_HTML = re.compile(r"</?(?:p|pre|code|li|ul|ol|blockquote|br|div|h[1-6]|a|em|strong)\b[^>]*>", re.I)


def looks_like_html(text: str) -> bool:
    """Whether a text has tags that posts are made of."""
    return _HTML.search(text) is not None


def as_text(html: str) -> str:
    """The text of a post. Code blocks come between fences and inline code in backticks, as in
    Markdown; pictures, scripts and addresses of links go, text of links stays."""
    parser = _Post()
    parser.feed(html)
    parser.close()
    return parser.text()


class _Post(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._code: list[str] | None = None  # the text of the `pre` that is open
        self._prefix = ""
        self._quotes = 0
        self._silent = 0
        self._lists: list[int | None] = []  # the number of the next item; None: bullets

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._code is not None:
            return
        if tag in ("script", "style"):
            self._silent += 1
        elif tag == "code":
            self._line.append("`")
        elif tag in _BLOCKS:
            self._end_block()
            if tag == "pre":
                self._code = []
            elif tag == "blockquote":
                self._quotes += 1
            elif tag in ("ul", "ol"):
                self._lists.append(1 if tag == "ol" else None)
            elif tag == "li":
                self._prefix = self._bullet()
            elif tag in _HEADINGS:
                self._prefix = f"{_HEADINGS[tag]} "

    def handle_endtag(self, tag: str) -> None:
        if self._code is not None:
            if tag == "pre":
                self._end_code()
        elif tag in ("script", "style"):
            self._silent = max(0, self._silent - 1)
        elif tag == "code":
            self._line.append("`")
        elif tag in _BLOCKS:
            self._end_block()
            if tag == "blockquote":
                self._quotes = max(0, self._quotes - 1)
            elif tag in ("ul", "ol") and self._lists:
                self._lists.pop()

    def handle_data(self, data: str) -> None:
        if self._code is not None:
            self._code.append(data)
        elif not self._silent:
            self._line.append(data)

    def _bullet(self) -> str:
        number = self._lists[-1] if self._lists else None
        if number is None:
            return "- "
        self._lists[-1] = number + 1
        return f"{number}. "

    def _end_block(self) -> None:
        text = " ".join("".join(self._line).split())
        self._line = []
        if text:
            self._blocks.append("> " * self._quotes + self._prefix + text)
            self._prefix = ""

    def _end_code(self) -> None:
        code = "".join(self._code or []).strip("\n")
        self._code = None
        if code.strip():
            quote = "> " * self._quotes
            lines = ["```", *code.split("\n"), "```"]
            self._blocks.append("\n".join(f"{quote}{line}" for line in lines))

    def text(self) -> str:
        """What was read, blocks parted by blank lines, items of a list by line breaks."""
        if self._code is not None:
            self._end_code()
        self._end_block()
        text = ""
        listed = False
        for block in self._blocks:
            item = _ITEM.match(block) is not None
            text += ("\n" if item and listed else "\n\n" if text else "") + block
            listed = item
        return text
