"""One request and its answer: the application's body on its way out, the server's answer on its way back.

Both bodies are framed anew. Whether the answer ended or was torn is decided here, and a torn one is an exception:
it must never look complete.
"""

from __future__ import annotations

from torpydo.apps.httpproxy.bodies import (
    LAST_CHUNK,
    Body,
    ChunkedBody,
    EndlessBody,
    LengthBody,
    chunk,
    content_length,
    is_chunked,
)
from torpydo.apps.httpproxy.failures import ERROR_FIELD
from torpydo.apps.httpproxy.grammar import (
    ANSWER_HEAD_LIMIT,
    BadMessage,
    Fields,
    HeadReader,
    StatusLine,
    parse_fields,
    parse_status_line,
)
from torpydo.apps.httpproxy.requests import Request, end_to_end

__all__ = ["Exchange", "Torn"]

# 1xx answers before the real one; a server that sends more is playing.
_INTERIM_LIMIT = 16


class Torn(Exception):
    """The answer ended before its end."""


class Exchange:
    """One request on its stream.

    :param request: what was asked
    :ivar started: whether a byte of the answer has been given to the application
    :ivar answered: whether the whole answer has come
    :ivar persistent: whether the application may send another request after it
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.started = False
        self.answered = False
        self.persistent = request.persistent
        self._head = HeadReader(ANSWER_HEAD_LIMIT)
        self._body: Body | None = None
        self._chunked = False
        self._interim = 0
        self._sent_last = False

    # out

    @property
    def asked(self) -> bool:
        """Whether the whole request has come from the application."""
        return self.request.body.done

    def ask(self, data: bytes) -> tuple[bytes, bytes]:
        """Read the application's body on.

        :returns: what goes to the server, and the bytes behind the body
        :raises BadMessage: if the body is malformed
        """
        payload, rest = self.request.body.take(data)
        if not self.request.chunked:
            return payload, rest
        framed = chunk(payload)
        if self.asked and not self._sent_last:
            self._sent_last = True
            framed += LAST_CHUNK
        return framed, rest

    # back

    def answer(self, data: bytes) -> bytes:
        """Read the server's answer on; what goes to the application.

        :raises BadMessage: if the answer is not HTTP
        """
        out: list[bytes] = []
        while self._body is None:
            lines, data = self._head.take(data)
            if lines is None:
                return b"".join(out)
            out.append(self._answer_head(parse_status_line(lines[0]), parse_fields(lines[1:])))
        if not self._body.done:
            payload, _ = self._body.take(data)
            out.append(chunk(payload) if self._chunked else payload)
        if self._body.done:
            self._end(out)
        return self._give(out)

    def answer_ended(self) -> bytes:
        """The server has ended cleanly; what still goes to the application.

        :raises Torn: if the answer was not complete
        """
        if self._body is None or self._body.torn_by_eof:
            raise Torn
        out: list[bytes] = []
        self._end(out)
        return self._give(out)

    def _give(self, out: list[bytes]) -> bytes:
        data = b"".join(out)
        self.started = self.started or bool(data)
        return data

    def _end(self, out: list[bytes]) -> None:
        self.answered = True
        if self._chunked:
            out.append(LAST_CHUNK)

    def _answer_head(self, line: StatusLine, fields: Fields) -> bytes:
        """Understand the head of an answer, and write the application's."""
        chunked = is_chunked(fields, line.minor)
        length = content_length(fields)
        kept = end_to_end(fields).without((ERROR_FIELD.lower(),))
        first = b"HTTP/1.1 %d %b\r\n" % (line.status, line.reason)
        if line.status < 200:
            self._interim += 1
            if line.status == 101 or self._interim > _INTERIM_LIMIT:
                raise BadMessage("an interim answer that nobody asked for")
            # HTTP/1.0 knows no interim answers (RFC 9110 15.2)
            return first + kept.encode() + b"\r\n" if self.request.minor == 1 else b""
        if self.request.method == b"HEAD" or line.status in (204, 304):
            self._body = LengthBody(0)
        elif chunked:
            self._body = ChunkedBody()
        elif length is not None:
            self._body = LengthBody(length)
        else:
            self._body = EndlessBody()
        if not isinstance(self._body, LengthBody):
            # without a length HTTP/1.1 gets chunks, so that it can tell an end from a tear; 1.0 gets the connection's
            # end, which is a reset when the answer is torn
            self._chunked = self.request.minor == 1
            self.persistent = self.persistent and self._chunked
        # an answer to half a request: the rest of it would be taken for another one
        self.persistent = self.persistent and self.asked
        framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
        staying = b"keep-alive" if self.persistent else b"close"
        return first + kept.encode() + framing + b"Connection: %b\r\n\r\n" % staying
