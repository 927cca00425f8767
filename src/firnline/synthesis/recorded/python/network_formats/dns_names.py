"""Encode and decode DNS messages, including compressed names.

A name such as ``www.example.org`` is sent as labels, each with its length in front.
To save space, the end of a name may be replaced by a pointer to an earlier place in
the message.  Pointers are a classic source of trouble: a malicious message can make
them run in circles or lead outside.  The decoder below insists that each pointer
leads strictly backwards, so it must come to an end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_HEADER, _QUESTION, _RECORD = map(struct.Struct, (">6H", ">2H", ">2HIH"))
TYPES = {"TXT": 16, "MX": 15, "CNAME": 5, "NS": 2}
_NAMES = {number: name for name, number in TYPES.items()}


class MessageError(ValueError):
    """The bytes are not a valid DNS message, or a value does not fit into one."""


@dataclass(frozen=True)
class Record:
    """An answer; the content is a text, a name or, for MX, a preference and a name."""

    owner: str
    type: str
    ttl: int
    content: str | tuple[int, str]


@dataclass
class Message:
    id: int
    response: bool = False
    questions: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Record] = field(default_factory=list)


class _Writer:
    def __init__(self) -> None:
        self.data, self._offsets = bytearray(), dict[tuple[str, ...], int]()

    def name(self, name: str) -> None:
        labels = tuple(name.lower().split(".")) if name else ()
        if len(name) > 253:
            raise MessageError("name too long")
        while labels:
            if labels in self._offsets:
                self.data += struct.pack(">H", 0xC000 | self._offsets[labels])
                return
            if len(self.data) < 0x4000:  # a pointer has 14 bits
                self._offsets[labels] = len(self.data)
            raw = labels[0].encode("ascii")
            if not 1 <= len(raw) <= 63:
                raise MessageError(f"bad label {labels[0]!r}")
            self.data += bytes([len(raw)]) + raw
            labels = labels[1:]
        self.data.append(0)

    def record(self, record: Record) -> None:
        self.name(record.owner)
        start = len(self.data)
        self.data += _RECORD.pack(TYPES[record.type], 1, record.ttl, 0)
        if isinstance(record.content, tuple):
            self.data += struct.pack(">H", record.content[0])
            self.name(record.content[1])
        elif record.type == "TXT":
            raw = record.content.encode()[:255]
            self.data += bytes([len(raw)]) + raw
        else:
            self.name(record.content)
        start += _RECORD.size
        struct.pack_into(">H", self.data, start - 2, len(self.data) - start)


def encode(message: Message) -> bytes:
    writer = _Writer()
    flags, counts = 0x8180 * message.response, (len(message.questions), len(message.answers))
    writer.data += _HEADER.pack(message.id, flags, *counts, 0, 0)
    for name, kind in message.questions:
        writer.name(name)
        writer.data += _QUESTION.pack(TYPES[kind], 1)
    for record in message.answers:
        writer.record(record)
    return bytes(writer.data)


def _read_name(data: bytes, offset: int) -> tuple[str, int]:
    labels: list[str] = []
    after, barrier = -1, offset
    while True:
        length = data[offset]
        if length > 63:
            target = (length & 0x3F) << 8 | data[offset + 1]
            if length < 0xC0 or target >= barrier:
                raise MessageError(f"bad pointer at {offset}")
            after = offset + 2 if after < 0 else after
            offset = barrier = target
        elif length == 0:
            return ".".join(labels), (offset + 1 if after < 0 else after)
        else:
            labels.append(data[offset + 1 : offset + 1 + length].decode("ascii"))
            offset += 1 + length


def _read_content(data: bytes, kind: str, start: int, end: int) -> str | tuple[int, str]:
    if kind == "TXT":
        return data[start + 1 : min(end, start + 1 + data[start])].decode()
    if kind == "MX":
        return int.from_bytes(data[start : start + 2], "big"), _read_name(data, start + 2)[0]
    return _read_name(data, start)[0]


def decode(data: bytes) -> Message:
    """Read a message; records of unknown types are skipped."""
    try:
        number, flags, questions, answers, *_ = _HEADER.unpack_from(data)
        message, offset = Message(number, bool(flags & 0x8000)), _HEADER.size
        for _ in range(questions):
            name, offset = _read_name(data, offset)
            kind, _ = _QUESTION.unpack_from(data, offset)
            message.questions.append((name, _NAMES.get(kind, str(kind))))
            offset += _QUESTION.size
        for _ in range(answers):
            owner, start = _read_name(data, offset)
            kind, _class, ttl, size = _RECORD.unpack_from(data, start)
            offset = start + _RECORD.size
            if offset + size > len(data):
                raise MessageError("record is cut off")
            if kind in _NAMES:
                content = _read_content(data, _NAMES[kind], offset, offset + size)
                message.answers.append(Record(owner, _NAMES[kind], ttl, content))
            offset += size
        return message
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise MessageError(f"damaged message: {error}") from error


if __name__ == "__main__":
    reply = Message(7, True, [("mail.example.org", "MX")], [
        Record("mail.example.org", "MX", 300, (10, "in.mail.example.org")),
        Record("www.example.org", "CNAME", 60, "example.org"),
        Record("example.org", "TXT", 5, "a long text " * 20),
    ])
    wire = encode(reply)
    assert decode(wire) == reply and wire.count(b"example") == 1
    print(f"{len(wire)} bytes; 'example' occurs once, thanks to pointers")
    query = encode(Message(1, questions=[("a.b", "NS")]))[:12]
    loop = query + b"\x01a\xc0\x0c\0\2\0\1"
    damaged = [wire[:n] for n in range(12, len(wire), 7)] + [loop, query + b"\x80x"]
    for data in damaged:
        try:
            decode(data)
        except MessageError:
            continue
        raise AssertionError(f"{data!r} was accepted")
    print(f"{len(damaged)} damaged messages were refused")
