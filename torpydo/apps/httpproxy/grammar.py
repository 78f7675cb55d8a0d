"""The part of HTTP/1.1 that is text: heads, fields, targets. Nothing is repaired here.

What two programs might read differently is refused: a bare LF or CR, a folded line, a space before a colon, a NUL,
a name or value with other characters than RFC 9110 allows. A server's answer is held to the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs

__all__ = [
    "ANSWER_HEAD_LIMIT",
    "FIELDS_LIMIT",
    "REQUEST_HEAD_LIMIT",
    "BadMessage",
    "Fields",
    "HeadReader",
    "RequestLine",
    "StatusLine",
    "parse_fields",
    "parse_request_line",
    "parse_status_line",
]

# Bytes in the head of a request; arti has the same bound.
REQUEST_HEAD_LIMIT = 16 * 1024
# Bytes in the head of an answer. Servers that set many cookies need more than a request may have.
ANSWER_HEAD_LIMIT = 64 * 1024
# Fields in a head; twice what the busiest sites send.
FIELDS_LIMIT = 200

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST_LINE = re.compile(rb"(%s) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (%s))?" % _TEXT)
_FIELD = re.compile(rb"(%s):(%s)" % (_TOKEN, _TEXT))
# A CR that ends what has come so far may still become a line end.
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")


class BadMessage(Exception):
    """A message is not HTTP/1.1 as it must be; the proxy turns it into an answer, it goes no further.

    :ivar status: the status that says so to an application
    :ivar why: the sentence that a person reads
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


@attrs.frozen
class Fields:
    """Header fields in their order."""

    items: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field; *name* in lower case."""
        return [value for key, value in self.items if key.lower() == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a field that is a list, in lower case."""
        members = b",".join(self.all(name)).lower().split(b",")
        return [member.strip(b" \t") for member in members if member.strip(b" \t")]

    def without(self, names: Iterable[bytes]) -> Fields:
        """The fields that have none of *names*, given in lower case."""
        dropped = frozenset(names)
        return Fields(tuple(item for item in self.items if item[0].lower() not in dropped))

    def encode(self) -> bytes:
        """The fields as lines."""
        return b"".join(b"%s: %s\r\n" % item for item in self.items)


@attrs.frozen
class RequestLine:
    """The first line of a request."""

    method: bytes
    target: bytes = attrs.field(repr=False)
    minor: int


@attrs.frozen
class StatusLine:
    """The first line of an answer."""

    minor: int
    status: int
    reason: bytes


def parse_request_line(line: bytes) -> RequestLine:
    """Read the first line of a request.

    :raises BadMessage: if it is not one
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("the first line is not a request")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise BadMessage("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    return RequestLine(method, target, int(minor))


def parse_status_line(line: bytes) -> StatusLine:
    """Read the first line of an answer.

    :raises BadMessage: if it is not one
    """
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("the first line is not a status")
    return StatusLine(int(match[1]), int(match[2]), match[3] or b"")


def parse_fields(lines: Sequence[bytes]) -> Fields:
    """Read header fields.

    :raises BadMessage: if a line is not one, or there are too many
    """
    if len(lines) > FIELDS_LIMIT:
        raise BadMessage(f"more than {FIELDS_LIMIT} header fields", 431)
    items = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadMessage("a header field is malformed")
        items.append((match[1], match[2].strip(b" \t")))
    return Fields(tuple(items))


class HeadReader:
    """Collect a head, from its first byte to its empty line.

    :param limit: bytes that it may have
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = b""
        self._skipped = False

    @property
    def empty(self) -> bool:
        """Whether no byte of a head has come."""
        return not self._held

    def take(self, data: bytes) -> tuple[list[bytes] | None, bytes]:
        """Read on.

        :returns: the lines once the head is whole, or else None; and the bytes that are not its own
        :raises BadMessage: as soon as a byte shows that it cannot become one
        """
        looked_at = max(0, len(self._held) - 3)
        held = self._held + data
        # One empty line before a request is forgiven: programs of the last century sent one after a body.
        if not self._skipped and held.startswith(b"\r\n"):
            held = held[2:]
            looked_at = 0
            self._skipped = True
        end = held.find(b"\r\n\r\n", looked_at)
        size = len(held) if end < 0 else end
        # The line end of the last line is looked at too: a CR before it is a bare one.
        if _FORBIDDEN.search(held, looked_at, size if end < 0 else end + 2):
            raise BadMessage("a byte that no head may contain")
        if size > self._limit:
            raise BadMessage(f"the head is longer than {self._limit} bytes", 431)
        if end < 0:
            self._held = held
            return None, b""
        self._held = b""
        self._skipped = False
        return held[:end].split(b"\r\n"), held[end + 4 :]
