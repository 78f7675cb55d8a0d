"""One connection to the HTTP proxy, as a state machine without I/O.

The adapter feeds it the application's bytes and what the stream of the current request brings, sends what
:meth:`ProxyConnection.data_to_send` holds, and does what the events say.

::

    HEAD ──> OPENING ──> EXCHANGE ──> HEAD ...
      │         │ └────> TUNNEL          (CONNECT: the adapter joins the transports, this object is done)
      └─────────┴──────> LEAVING ──> CLOSED

One request is served at a time; what an application sends ahead waits. Each request has a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from torpydo.apps.destinations import Forbidden, judge
from torpydo.apps.events import (
    AbortNow,
    CloseNow,
    CloseUpstream,
    DropUpstream,
    Event,
    HangUp,
    OpenTunnel,
    OpenUpstream,
    SendUpstream,
)
from torpydo.apps.httpproxy.exchange import Exchange, Torn
from torpydo.apps.httpproxy.failures import (
    BAD_ANSWER,
    NO_ANSWER,
    TIMED_OUT,
    Refusal,
    bad_request,
    failure_of,
    forbidden,
    refusal_answer,
)
from torpydo.apps.httpproxy.grammar import REQUEST_HEAD_LIMIT, BadMessage, HeadReader
from torpydo.apps.httpproxy.requests import read_request
from torpydo.apps.refusals import ProxyRefusal
from torpydo.client import DEFAULT_LIMITS
from torpydo.errors import StreamReset

__all__ = [
    "GONE_TIMEOUT",
    "IDLE_TIMEOUT",
    "LEAVING_TIMEOUT",
    "WAITING_LIMIT",
    "ProxyConnection",
    "State",
]

# Bytes that wait for a stream, or for the answer before; then the adapter stops reading, so one read more is held.
WAITING_LIMIT = 64 * 1024
# Seconds that a kept connection may be silent between two requests.
IDLE_TIMEOUT = 60.0
# Seconds that an answer may take to begin once the application has ended: it may be gone, and only a write would show.
GONE_TIMEOUT = 120.0
# Seconds in which what still comes is discarded after the last answer: closing over unread bytes would send a reset,
# and a reset overtakes the answer.
LEAVING_TIMEOUT = 2.0

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class State(Enum):
    """Where the connection is."""

    HEAD = "a request is to come"
    OPENING = "its stream is being opened"
    EXCHANGE = "request and answer are on their way"
    TUNNEL = "bytes flow"
    LEAVING = "the last answer was given"
    CLOSED = "nothing more happens"


class ProxyConnection:
    """One connection.

    :param allow_private: asked at each request whether this is a test network
    :param connect_only: whether all but CONNECT is refused
    :param now: the time of the connection
    :param request_time: seconds for a request's head, from the connection or from its first byte
    :param open_time: seconds to open a stream
    :ivar refusal: why the application was refused, if it was
    """

    def __init__(
        self,
        *,
        allow_private: Callable[[], bool],
        connect_only: bool = False,
        now: float,
        request_time: float = DEFAULT_LIMITS.request_time,
        open_time: float = DEFAULT_LIMITS.open_time,
    ) -> None:
        self.state = State.HEAD
        self.refusal: ProxyRefusal | None = None
        self._allow_private = allow_private
        self._connect_only = connect_only
        self._request_time = request_time
        self._open_time = open_time
        self._head = HeadReader(REQUEST_HEAD_LIMIT)
        self._waiting = b""  # bytes of the application that are not understood yet
        self._outgoing: list[bytes] = []  # bytes for a stream that is not open yet
        self._ahead = 0  # bytes of it that were taken for the network already
        self._output: list[bytes] = []
        self._exchange: Exchange | None = None
        self._eof = False
        self._asked = False  # whether there was ever a whole head of a request
        self._deadline: float | None = now + request_time

    # the face of every core

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the application."""
        if self.state in (State.LEAVING, State.CLOSED):
            return []
        self._waiting = self._waiting + data if self._waiting else data
        return self._understand(now)

    def receive_eof(self, now: float) -> list[Event]:
        """Note that the application sends no more."""
        self._eof = True
        exchange = self._exchange
        if self.state is State.TUNNEL:
            return []
        if self.state is State.OPENING and exchange is None and (self._waiting or self._ahead):
            return []
        if exchange is not None and exchange.asked:
            exchange.persistent = False
            if self.state is State.EXCHANGE and not exchange.started:
                self._deadline = now + GONE_TIMEOUT
            return []
        return self._close()

    def data_to_send(self) -> bytes:
        """Take the bytes that wait for the application."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def next_deadline(self) -> float | None:
        """When :meth:`deadline_passed` wants to be called."""
        return self._deadline

    def deadline_passed(self, now: float) -> list[Event]:
        """Act on the time."""
        if self._deadline is None or now < self._deadline:
            return []
        if self.state is State.OPENING:
            return self._refuse(TIMED_OUT, now)
        if self.state is State.HEAD and not (self._asked and self._head.empty):
            self.refusal = ProxyRefusal.PROXY_SILENCE
        if self.state is State.HEAD and not self._head.empty:
            return self._refuse(bad_request(BadMessage("the head did not come in time", 408)), now)
        return self._close()

    # what the adapter asks and tells

    @property
    def wants_data(self) -> bool:
        """Whether the adapter may go on reading."""
        held = self._ahead + len(self._waiting) + sum(map(len, self._outgoing))
        return self.state not in (State.OPENING, State.EXCHANGE) or held < WAITING_LIMIT

    @property
    def is_idle(self) -> bool:
        """Whether there is no whole head of a request: at the beginning, and between two requests."""
        return self.state is State.HEAD

    def data_ahead(self, most: int) -> bytes:
        """Take bytes that can go to the network before the stream is open: the request, or what the tunnel is for."""
        if self.state is not State.OPENING:
            return b""
        if self._exchange is None:
            data, self._waiting = self._waiting[:most], self._waiting[most:]
        else:
            data = b"".join(self._outgoing)
            self._outgoing = [data[most:]] if len(data) > most else []
            data = data[:most]
        self._ahead += len(data)
        return data

    def early_data(self) -> tuple[bytes, bool]:
        """Take the rest of what came before the tunnel was open, and whether the application has ended."""
        data, self._waiting = self._waiting, b""
        return data, self._eof

    def tunnel_opened(self, now: float) -> list[Event]:
        """The stream of a CONNECT is open: say so, and be done."""
        if self.state is State.OPENING:
            self.state = State.TUNNEL
            self._deadline = None
            self._output.append(_ESTABLISHED)
        return []

    def upstream_opened(self, now: float) -> list[Event]:
        """The stream of a request is open: send the rest of what has come of it."""
        if self.state is not State.OPENING or self._exchange is None:
            return [DropUpstream()]
        self.state = State.EXCHANGE
        self._deadline = now + GONE_TIMEOUT if self._eof else None
        self._ahead = 0
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return [SendUpstream(data)] if data else []

    def open_failed(self, error: BaseException | None, now: float) -> list[Event]:
        """The stream could not be opened."""
        return self._refuse(failure_of(error), now) if self.state is State.OPENING else []

    def upstream_data(self, data: bytes, now: float) -> list[Event]:
        """The server has sent something."""
        if self.state is not State.EXCHANGE or self._exchange is None:
            return []
        try:
            self._output.append(self._exchange.answer(data))
        except BadMessage:
            return self._refuse(BAD_ANSWER, now)
        return self._answered_so_far(self._exchange, now)

    def upstream_ended(self, now: float) -> list[Event]:
        """The server has ended cleanly."""
        if self.state is not State.EXCHANGE or self._exchange is None:
            return []
        try:
            self._output.append(self._exchange.answer_ended())
        except Torn:
            return self._refuse(NO_ANSWER, now)
        return self._answered_so_far(self._exchange, now)

    def upstream_torn(self, now: float) -> list[Event]:
        """The stream was torn."""
        if self.state is not State.EXCHANGE:
            return []
        return self._refuse(failure_of(StreamReset()), now)

    # requests

    def _understand(self, now: float) -> list[Event]:
        """Read on in what the application has sent, as far as that is possible now."""
        events: list[Event] = []
        try:
            if self.state is State.HEAD and self._waiting:
                self._read_head(events, now)
            if self._exchange is not None and not self._exchange.asked:
                self._read_body(self._exchange, events)
        except BadMessage as error:
            # Nothing that this read brought is forwarded, not even the head of a request whose body is bad.
            self.refusal = ProxyRefusal.PROXY_REQUEST
            return self._refuse(bad_request(error), now)
        return events

    def _read_head(self, events: list[Event], now: float) -> None:
        fresh = self._head.empty
        lines, self._waiting = self._head.take(self._waiting)
        if lines is None:
            if fresh and not self._head.empty:
                latest = now + self._request_time
                self._deadline = min(self._deadline or latest, latest)
            return
        self._asked = True
        request = read_request(lines)
        if self._connect_only and not request.tunnel:
            raise BadMessage("this proxy takes CONNECT only; use https, or a proxy without --http-connect-only", 405)
        verdict = judge(request.host, request.port, allow_private=self._allow_private())
        if not request.tunnel:
            self._exchange = Exchange(request)
        if isinstance(verdict, Forbidden):
            self.refusal = ProxyRefusal.PROXY_DESTINATION
            events += self._refuse(forbidden(verdict.why), now)
            return
        self.state = State.OPENING
        self._deadline = now + self._open_time
        if request.tunnel:
            events.append(OpenTunnel(verdict, request.credentials))
        else:
            self._outgoing.append(request.head)
            events.append(OpenUpstream(verdict, request.credentials))

    def _read_body(self, exchange: Exchange, events: list[Event]) -> None:
        data, self._waiting = exchange.ask(self._waiting)
        if self.state is State.EXCHANGE:
            if data:
                events.append(SendUpstream(data))
        elif data:
            self._outgoing.append(data)

    # the ends of an exchange

    def _answered_so_far(self, exchange: Exchange, now: float) -> list[Event]:
        if exchange.started:
            self._deadline = None
        if not exchange.answered:
            return []
        if not exchange.persistent:
            return [CloseUpstream(), *self._leave(now)]
        return [CloseUpstream(), *self._next_request(now)]

    def _refuse(self, refusal: Refusal, now: float) -> list[Event]:
        """Answer in place of a server, and hang up; if the server's own answer has begun, tear the connection."""
        exchange = self._exchange
        if exchange is not None and exchange.started:
            self._settle(State.CLOSED)
            return [DropUpstream(), AbortNow()]
        head_only = exchange is not None and exchange.request.method == b"HEAD"
        self._output.append(refusal_answer(refusal, head_only=head_only))
        return [DropUpstream(), *self._leave(now)]

    def _next_request(self, now: float) -> list[Event]:
        self.state = State.HEAD
        self._exchange = None
        self._outgoing.clear()
        self._deadline = now + IDLE_TIMEOUT
        return self._understand(now)

    def _leave(self, now: float) -> list[Event]:
        self._settle(State.LEAVING)
        self._deadline = now + LEAVING_TIMEOUT
        return [HangUp()]

    def _close(self) -> list[Event]:
        drop: list[Event] = [DropUpstream()] if self.state in (State.OPENING, State.EXCHANGE) else []
        self._settle(State.CLOSED)
        return [*drop, CloseNow()]

    def _settle(self, state: State) -> None:
        self.state = state
        self._deadline = None
        self._exchange = None
        self._waiting = b""
        self._outgoing.clear()
