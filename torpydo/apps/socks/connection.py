"""One SOCKS connection up to the moment when bytes flow, as a state machine without I/O.

The adapter feeds it bytes, sends what :meth:`SocksConnection.data_to_send` holds, does what the events say and
reports the outcome by :meth:`~SocksConnection.tunnel_opened`, :meth:`~SocksConnection.name_resolved` or
:meth:`~SocksConnection.open_failed`. While it waits it takes :meth:`~SocksConnection.data_ahead`, and after the tunnel
is open :meth:`~SocksConnection.early_data`, and this object is done.

::

    GREETING ─┬─> LOGIN ──> REQUEST ─┬─> WAITING ──> TUNNEL
              └──────────────^       └──────┴──> LEAVING ──> CLOSED
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from torpydo.apps.destinations import Destination, Forbidden, judge
from torpydo.apps.events import CloseNow, Event, HangUp, OpenTunnel, ResolveName
from torpydo.apps.isolation import NOBODY, Credentials
from torpydo.apps.refusals import ProxyRefusal
from torpydo.apps.socks.help import HELP_PAGE, looks_like_http
from torpydo.apps.socks.messages import (
    MESSAGE_LIMIT,
    Command,
    Method,
    Reply,
    Request,
    UnknownAddressKind,
    login_answer,
    method_answer,
    read_greeting,
    read_login,
    read_request4,
    read_request5,
    reply4,
    reply5,
)
from torpydo.apps.socks.replies import REFUSALS, reply_for
from torpydo.client import DEFAULT_LIMITS
from torpydo.wire import Malformed, NeedMore, Reader

__all__ = ["EARLY_LIMIT", "LEAVING_TIMEOUT", "SocksConnection", "State"]

# Bytes that wait for the tunnel; then the adapter stops reading, so at most one read more is held (S5).
EARLY_LIMIT = 64 * 1024
# Seconds in which what still comes is discarded after a refusal: closing over unread bytes would send a reset, and
# a reset overtakes the reply.
LEAVING_TIMEOUT = 2.0


class State(Enum):
    """Where the conversation is."""

    GREETING = "nothing understood yet"
    LOGIN = "user and password are to come"
    REQUEST = "the request is to come"
    WAITING = "the network is asked"
    TUNNEL = "bytes flow"
    LEAVING = "the reply was a refusal, or the answer to RESOLVE"
    CLOSED = "nothing more happens"


_HANDSHAKE = (State.GREETING, State.LOGIN, State.REQUEST)


class SocksConnection:
    """One conversation.

    :param allow_private: asked at each request whether this is a test network
    :param refuse_addresses: refuse IP addresses, for an application that gives one may have asked the DNS itself
    :param now: the time of the connection
    :param request_time: seconds from the connection to a whole request
    :param open_time: seconds from the connection to the reply
    :ivar refusal: why the application was refused, if it was
    """

    def __init__(
        self,
        *,
        allow_private: Callable[[], bool],
        refuse_addresses: bool,
        now: float,
        request_time: float = DEFAULT_LIMITS.request_time,
        open_time: float = DEFAULT_LIMITS.open_time,
    ) -> None:
        self.state = State.GREETING
        self.refusal: ProxyRefusal | None = None
        self._request_time = request_time
        self._open_time = open_time
        self._allow_private = allow_private
        self._refuse_addresses = refuse_addresses
        self._buffer = bytearray()
        self._ahead = 0  # bytes that were taken for the stream before it is open
        self._output: list[bytes] = []
        self._credentials = NOBODY
        self._version = 5
        self._eof = False
        self._started = now
        self._leaving_at = now

    # the face of every core

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the application."""
        if self.state in (State.LEAVING, State.CLOSED):
            return []
        self._buffer += data
        events: list[Event] = []
        while self._buffer and self.state in _HANDSHAKE:
            reader = Reader(bytes(self._buffer[:MESSAGE_LIMIT]))
            before = self.state
            try:
                events += _PARSERS[before](self, reader, now)
            except NeedMore:
                if len(self._buffer) >= MESSAGE_LIMIT:
                    events += self._misunderstood(before, now)
                break
            except UnknownAddressKind:
                self.refusal = ProxyRefusal.PROXY_REQUEST
                events += self._last_reply(Reply.ADDRESS_NOT_SUPPORTED, now)
            except Malformed:
                events += self._misunderstood(before, now)
            else:
                del self._buffer[: reader.position]
        return events

    def receive_eof(self, now: float) -> list[Event]:
        """Note that the application sends no more."""
        # A program that ends before the reply, with nothing said, has gone. One that sent bytes ahead may have ended
        # because that was all; its EOF goes the same way as its bytes.
        if self.state is State.TUNNEL or (self.state is State.WAITING and (self._buffer or self._ahead)):
            self._eof = True
            return []
        return self._close()

    def data_to_send(self) -> bytes:
        """Take the bytes that wait for the application."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def next_deadline(self) -> float | None:
        """When :meth:`deadline_passed` wants to be called."""
        if self.state in _HANDSHAKE:
            return self._started + self._request_time
        if self.state is State.WAITING:
            return self._started + self._open_time
        return self._leaving_at if self.state is State.LEAVING else None

    def deadline_passed(self, now: float) -> list[Event]:
        """Act on the time."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if self.state is State.WAITING:
            return self._last_reply(Reply.TIMED_OUT, now)
        if self.state in _HANDSHAKE:
            self.refusal = ProxyRefusal.PROXY_SILENCE
        return self._close()

    # what the adapter asks and tells

    @property
    def wants_data(self) -> bool:
        """Whether the adapter may go on reading."""
        return self.state is not State.WAITING or len(self._buffer) + self._ahead < EARLY_LIMIT

    @property
    def is_idle(self) -> bool:
        """Whether there is no whole request."""
        return self.state in _HANDSHAKE

    def data_ahead(self, most: int) -> bytes:
        """Take bytes that can go to the network before the tunnel is open."""
        if self.state is not State.WAITING:
            return b""
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._ahead += len(data)
        return data

    def early_data(self) -> tuple[bytes, bool]:
        """Take the rest of what came before the tunnel was open, and whether the application has ended."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data, self._eof

    def tunnel_opened(self, now: float) -> list[Event]:
        """The stream is open: say so, and be done."""
        if self.state is State.WAITING:
            self.state = State.TUNNEL
            self._reply(Reply.SUCCEEDED)
        return []

    def name_resolved(self, answers: Sequence[tuple[str, int]], now: float) -> list[Event]:
        """A name was resolved: give the first IPv4 address, or else the first IPv6 address."""
        if self.state is not State.WAITING:
            return []
        addresses = sorted((address for address, _ in answers), key=lambda address: ":" in address)
        if not addresses or (self._version == 4 and ":" in addresses[0]):
            return self._last_reply(Reply.HOST_UNREACHABLE, now)
        return self._last_reply(Reply.SUCCEEDED, now, addresses[0])

    def open_failed(self, error: BaseException | None, now: float) -> list[Event]:
        """The network could not do it."""
        return self._last_reply(reply_for(error), now) if self.state is State.WAITING else []

    # one message each

    def _greeting(self, reader: Reader, now: float) -> list[Event]:
        first = self._buffer[0]
        if looks_like_http(first):
            self.refusal = ProxyRefusal.PROXY_REQUEST
            self._output.append(HELP_PAGE)
            return self._leave(now)
        if first == 4:
            self._version = 4
            return self._asked(read_request4(reader), now)
        methods = read_greeting(reader)
        # A client that offers both has a pair to give; without it its streams would mix with those of others.
        for method, state in ((Method.PASSWORD, State.LOGIN), (Method.NONE, State.REQUEST)):
            if method in methods:
                self._output.append(method_answer(method))
                self.state = state
                return []
        self.refusal = ProxyRefusal.PROXY_REQUEST
        self._output.append(method_answer(Method.NOT_ACCEPTABLE))
        return self._leave(now)

    def _login(self, reader: Reader, now: float) -> list[Event]:
        self._credentials = read_login(reader)
        self._output.append(login_answer(True))
        self.state = State.REQUEST
        return []

    def _request(self, reader: Reader, now: float) -> list[Event]:
        return self._asked(read_request5(reader), now)

    def _asked(self, request: Request, now: float) -> list[Event]:
        self._credentials = request.credentials or self._credentials
        resolve = request.command == Command.RESOLVE
        if not resolve and request.command != Command.CONNECT:
            self.refusal = ProxyRefusal.PROXY_REQUEST
            return self._last_reply(Reply.NOT_SUPPORTED, now)
        verdict = judge(request.host, request.port, allow_private=self._allow_private(), resolve_only=resolve)
        if isinstance(verdict, Forbidden):
            self.refusal = ProxyRefusal.PROXY_DESTINATION
            return self._last_reply(REFUSALS[verdict.why], now)
        if verdict.literal and self._refuse_addresses:
            self.refusal = ProxyRefusal.PROXY_ADDRESS
            return self._last_reply(Reply.NOT_ALLOWED, now)
        self.state = State.WAITING
        if resolve and verdict.literal:
            return self.name_resolved([(verdict.host, 0)], now)
        return [self._ask(verdict, self._credentials, resolve)]

    @staticmethod
    def _ask(destination: Destination, credentials: Credentials, resolve: bool) -> Event:
        return ResolveName(destination, credentials) if resolve else OpenTunnel(destination, credentials)

    # the ways out

    def _reply(self, reply: Reply, address: str = "0.0.0.0") -> None:
        self._output.append(reply4(reply, address) if self._version == 4 else reply5(reply, address))

    def _last_reply(self, reply: Reply, now: float, address: str = "0.0.0.0") -> list[Event]:
        """Send the last reply, which is a refusal, or what RESOLVE found."""
        self._reply(reply, address)
        return self._leave(now)

    def _misunderstood(self, state: State, now: float) -> list[Event]:
        """Refuse in the words of the state, and say nothing to what is not SOCKS at all."""
        self.refusal = ProxyRefusal.PROXY_REQUEST
        if state is State.GREETING and self._buffer[0] not in (4, 5):
            return self._close()
        if state is State.LOGIN:
            self._output.append(login_answer(False))
            return self._leave(now)
        return self._last_reply(Reply.FAILED, now)

    def _leave(self, now: float) -> list[Event]:
        self.state = State.LEAVING
        self._leaving_at = now + LEAVING_TIMEOUT
        self._buffer.clear()
        return [HangUp()]

    def _close(self) -> list[Event]:
        self.state = State.CLOSED
        self._buffer.clear()
        return [CloseNow()]


_PARSERS: Final[dict[State, Callable[[SocksConnection, Reader, float], list[Event]]]] = {
    State.GREETING: SocksConnection._greeting,
    State.LOGIN: SocksConnection._login,
    State.REQUEST: SocksConnection._request,
}
"""What reads the next message."""
