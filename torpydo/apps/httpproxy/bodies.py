"""Where a message's body ends, and how its bytes are read and written.

A reader takes bytes and gives back the payload in them and what lies behind the body. The framing of one side is
never copied to the other: payload goes in, and is framed anew.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

from torpydo.apps.httpproxy.grammar import BadMessage, Fields, parse_fields

__all__ = [
    "LAST_CHUNK",
    "Body",
    "ChunkedBody",
    "EndlessBody",
    "LengthBody",
    "chunk",
    "content_length",
    "is_chunked",
]

# Bytes in the line before a chunk. It is a number, and an extension that nobody uses.
_CHUNK_LINE_LIMIT = 256
# Bytes in the fields after the last chunk; they are checked and dropped.
_TRAILER_LIMIT = 16 * 1024

_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")

LAST_CHUNK = b"0\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    """Frame payload as one chunk; none becomes nothing, for an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def content_length(fields: Fields) -> int | None:
    """The length that the fields give.

    :raises BadMessage: if they give more than one, or none that is a number. Equal ones are refused too: a message
        with two lengths was put together by somebody.
    """
    values = fields.all(b"content-length")
    if not values:
        return None
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise BadMessage("the Content-Length is not one number")
    return int(values[0])


def is_chunked(fields: Fields, minor: int) -> bool:
    """Whether the fields say that the body is chunked.

    :raises BadMessage: if they say anything else about its transfer, or give a length as well
    """
    values = fields.all(b"transfer-encoding")
    if not values:
        return False
    if fields.all(b"content-length"):
        raise BadMessage("both Content-Length and Transfer-Encoding")
    if minor == 0:
        raise BadMessage("HTTP/1.0 has no Transfer-Encoding")
    if len(values) > 1:
        raise BadMessage("more than one Transfer-Encoding")
    if values[0].lower() != b"chunked":
        raise BadMessage("no Transfer-Encoding but chunked is known here", 501)
    return True


class Body(Protocol):
    """A body being read.

    :ivar done: whether all of it has come
    :ivar torn_by_eof: whether an EOF now means that something is missing
    """

    done: bool

    @property
    def torn_by_eof(self) -> bool: ...

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on: the payload that *data* brought, and the bytes behind the body."""
        ...


class LengthBody:
    """A body of known length; none at all has length 0."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    @property
    def torn_by_eof(self) -> bool:
        """Whether bytes are missing."""
        return not self.done

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on."""
        payload = data if len(data) <= self._left else data[: self._left]
        self._left -= len(payload)
        self.done = self._left == 0
        return payload, data[len(payload) :]


class EndlessBody:
    """A body that ends with the connection."""

    def __init__(self) -> None:
        self.done = False

    @property
    def torn_by_eof(self) -> bool:
        """A clean end is its end."""
        return False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on."""
        return data, b""


class _Part(Enum):
    """Where in the chunks the reader is."""

    SIZE = "the line before a chunk"
    DATA = "its bytes"
    END = "the line end after them"
    TRAILER = "the fields after the last chunk"


class ChunkedBody:
    """A body in chunks."""

    def __init__(self) -> None:
        self.done = False
        self._part = _Part.SIZE
        self._left = 0
        self._held = b""
        self._trailer = 0

    @property
    def torn_by_eof(self) -> bool:
        """Whether the last chunk is missing."""
        return not self.done

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on."""
        data = self._held + data
        self._held = b""
        position = 0
        parts: list[bytes] = []
        while not self.done:
            if self._part is _Part.DATA:
                part = data[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                if self._left:
                    return b"".join(parts), b""
                self._part = _Part.END
            end = data.find(b"\n", position)
            line = data[position:] if end < 0 else data[position : end + 1]
            self._check(line, whole=end >= 0)
            if end < 0:
                self._held = line
                return b"".join(parts), b""
            position = end + 1
            self._line(line[:-2])
        return b"".join(parts), data[position:]

    def _check(self, line: bytes, *, whole: bool) -> None:
        """Refuse a line as early as it shows that it is none."""
        text = line[:-2] if whole else line.removesuffix(b"\r")
        if whole and not line.endswith(b"\r\n"):
            raise BadMessage("a line of a chunked body ends in a bare LF")
        if b"\r" in text:
            raise BadMessage("a bare CR in a chunked body")
        if self._part is _Part.END and text:
            raise BadMessage("a chunk is longer than its size")
        limit = _TRAILER_LIMIT - self._trailer if self._part is _Part.TRAILER else _CHUNK_LINE_LIMIT
        if len(text) > limit:
            raise BadMessage("a line of a chunked body is too long")

    def _line(self, text: bytes) -> None:
        if self._part is _Part.END:
            self._part = _Part.SIZE
        elif self._part is _Part.SIZE:
            match = _CHUNK_LINE.fullmatch(text)
            if match is None:
                raise BadMessage("the size of a chunk is not a number")
            self._left = int(match[1], 16)
            self._part = _Part.DATA if self._left else _Part.TRAILER
        elif text:
            parse_fields([text])
            self._trailer += len(text) + 2
        else:
            self.done = True
