"""TCP over the simulated internet: listening sockets, the two ends of a connection, and the connection itself.

As on Linux: a reset is seen after the bytes that came before it; a reset after the end of the stream does not spoil
that end; closing with unread bytes resets the peer; whoever does not read does not notice that its peer is gone.
Called by Twisted's transports, by the internet, and by tests that break connections.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from torpydo.testing.sockets import Endpoint, Host, Registry, Socket, SocketName, kernel_error
from torpydo.testing.ways import Item, Pipe, Signal, Ways

SYN_RETRY = 1.0
"""Seconds until a connection is tried again that met a full backlog, as in Linux."""


class Kernel(Registry, Protocol):
    """What sockets ask of the internet."""

    ways: Ways
    split: Callable[[int], int] | None
    tap: Callable[[str, str, bytes], bytes] | None
    connections: dict[Connection, None]

    def source_for(self, host: Host, target: str) -> str:
        """The address from which *host* connects to *target*."""

    def ephemeral_port(self, ip: str) -> int:
        """A port that is free at *ip*."""

    def bind(self, listener: ListeningSocket, ip: str, port: int) -> Endpoint:
        """Reserve an address."""

    def unbind(self, listener: ListeningSocket) -> None:
        """Release it."""

    def listener_at(self, ip: str, port: int) -> ListeningSocket | None:
        """Who listens there."""

    def route(self, source: str, target: Endpoint) -> Endpoint:
        """Where a connection to *target* ends."""


class State(Enum):
    """The life of a stream socket."""

    NEW = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ListeningSocket(Socket):
    """A socket that accepts connections."""

    def __init__(self, kernel: Kernel, host: Host, family: int) -> None:
        super().__init__(kernel, host, family)
        self.kernel = kernel
        self._backlog: int | None = None
        self._pending: deque[StreamSocket] = deque()

    def bind(self, address: Sequence[str | int]) -> None:
        """Take an address."""
        ip, port = address[:2]
        assert isinstance(ip, str) and isinstance(port, int)
        self.local = self.kernel.bind(self, ip, port)

    def listen(self, backlog: int) -> None:
        """Accept connections from now on."""
        self._backlog = backlog

    @property
    def full(self) -> bool:
        """Whether no more connections may wait here."""
        return self._backlog is None or len(self._pending) > self._backlog

    def pend(self, sock: StreamSocket) -> None:
        """A connection waits to be accepted."""
        self._pending.append(sock)
        self.mark()

    def accept(self) -> tuple[StreamSocket, SocketName]:
        """The next connection and where it comes from."""
        if not self._pending:
            raise BlockingIOError(errno.EWOULDBLOCK, "nobody waits")
        sock = self._pending.popleft()
        return sock, sock.getpeername()

    def readable(self) -> bool:
        return bool(self._pending)

    def shutdown(self, how: int) -> None:
        """Closing does it."""

    def close(self) -> None:
        self.kernel.unbind(self)
        self.kernel.unregister(self)
        while self._pending:
            self._pending.popleft().abort()


class StreamSocket(Socket):
    """One end of a connection."""

    def __init__(self, kernel: Kernel, host: Host, family: int) -> None:
        super().__init__(kernel, host, family)
        self.kernel = kernel
        self.state = State.NEW
        self.remote: Endpoint | None = None
        self.connection: Connection | None = None
        self._incoming: Pipe | None = None
        self._outgoing: Pipe | None = None
        self._arrived: deque[memoryview] = deque()
        self._unread = 0
        self._ended = False  # the peer will send no more
        self._shut = False  # we shall send no more
        self._error = 0
        self._abortive = False

    # Opening

    def bind(self, address: Sequence[str | int]) -> None:
        """Choose the address to connect from."""
        ip, port = address[:2]
        assert isinstance(ip, str) and isinstance(port, int)
        if ip and ip not in self.host.addresses:
            raise kernel_error(errno.EADDRNOTAVAIL)
        self.local = (ip, port)

    def connect_ex(self, address: Sequence[str | int]) -> int:
        """Begin to connect, or tell how far it is."""
        if self.state is not State.NEW:
            return errno.EISCONN if self.state is State.CONNECTED else errno.EALREADY
        ip, port = address[:2]
        assert isinstance(ip, str) and isinstance(port, int)
        code = self.kernel.ways.error_for(ip)
        if code:
            return code
        source, source_port = self.local or ("", 0)
        source = source or self.kernel.source_for(self.host, ip)
        self.local = (source, source_port or self.kernel.ephemeral_port(source))
        self.remote = (ip, port)
        self.state = State.CONNECTING
        self.connection = Connection(self.kernel, self)
        self.connection.begin()
        return errno.EINPROGRESS

    def established(self, connection: Connection, incoming: Pipe, outgoing: Pipe) -> None:
        """The socket is one end of *connection* from now on."""
        self.connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.state = State.CONNECTED
        self.mark()

    def getsockopt(self, level: int, option: int, size: int = 0) -> int:
        """Why connecting failed; 0 if it did not, and for every other option."""
        return self._error if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR) else 0

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._abortive = value == struct.pack("ii", 1, 0)

    def getpeername(self) -> SocketName:
        """The peer's address."""
        return self._name(self.remote)

    # Moving bytes

    def readable(self) -> bool:
        return bool(self._arrived or self._ended or self._error) and self.state is not State.CLOSED

    def writable(self) -> bool:
        if self._error or self._shut:
            return self.state is not State.CLOSED
        outgoing = self._outgoing
        return outgoing is not None and outgoing.in_flight * 2 <= outgoing.conditions.in_flight

    def arrive(self, item: Item) -> None:
        """Something came from the peer."""
        if isinstance(item, bytes):
            if self.state is State.CLOSED:
                self._answer(Signal.RESET)
                return
            self._arrived.append(memoryview(item))
            self._unread += len(item)
        elif item is Signal.EOF:
            self._ended = True
        elif item is Signal.RESET:
            self.fail(errno.EPIPE if self._ended else errno.ECONNRESET)
        elif item is Signal.REFUSED:
            self.fail(errno.ECONNREFUSED)
        self.mark()

    def fail(self, code: int) -> None:
        """The connection is broken; what has arrived can still be read."""
        if not self._error:
            self._error = code
            if self._outgoing is not None:
                self._outgoing.drop()
            self.mark()

    def recv(self, size: int) -> bytes:
        """Read; nothing is the end of the stream."""
        if not self._arrived:
            if self._ended:
                return b""
            if self._error:
                raise kernel_error(self._error)
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing has arrived")
        count = min(size, self._unread)
        if self.kernel.split is not None:
            count = max(1, min(count, self.kernel.split(count)))
        parts: list[memoryview] = []
        missing = count
        while missing:
            part = self._arrived.popleft()
            if len(part) > missing:
                self._arrived.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        self._unread -= count
        assert self._incoming is not None
        self._incoming.consumed(count)
        return b"".join(parts)

    def send(self, data: bytes | memoryview) -> int:
        """Write as much as there is room for."""
        if self._error or self._shut:
            raise kernel_error(errno.EPIPE)
        outgoing = self._outgoing
        if outgoing is None:
            raise kernel_error(errno.ENOTCONN)
        if outgoing.room <= 0:
            raise BlockingIOError(errno.EWOULDBLOCK, "the buffers are full")
        sent = bytes(data[: outgoing.room])
        tap = self.kernel.tap
        arriving = sent if tap is None else tap(outgoing.source, outgoing.target, sent)
        if arriving:
            outgoing.send(arriving)
        return len(sent)

    # Ending

    def shutdown(self, how: int) -> None:
        """Send nothing more (reading goes on until the socket is closed)."""
        if self.state is not State.CONNECTED:
            raise kernel_error(errno.ENOTCONN)
        self._shut = True
        if not self._error:
            self._answer(Signal.EOF)

    def abort(self) -> None:
        """Close, and reset the peer."""
        self._abortive = True
        self.close()

    def close(self) -> None:
        """Close; what was sent still arrives."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTED and not self._error:
            if not self._abortive:
                self.shutdown(socket.SHUT_RDWR)
            if self._abortive or self._unread:
                self._answer(Signal.RESET)
        self.state = State.CLOSED
        self._arrived.clear()
        self.kernel.unregister(self)
        if self.connection is not None:
            self.connection.closed()

    def _answer(self, signal: Signal) -> None:
        if self._outgoing is not None:
            self._outgoing.send(signal)


class Connection:
    """A connection, from the first packet on.

    :ivar client: the end that connected
    :ivar server: the end that was connected to; None until it was reached
    """

    def __init__(self, kernel: Kernel, client: StreamSocket) -> None:
        assert client.local is not None and client.remote is not None
        self._kernel = kernel
        self.client = client
        self.server: StreamSocket | None = None
        source, target = client.local[0], client.remote[0]
        ways = kernel.ways
        self._forward = Pipe(source, target, ways, self._reach, client.mark, self.reset, self._client_gives_up)
        self._backward = Pipe(target, source, ways, self._answer, self._server_space, self.reset, self._server_gives_up)

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Who connected, and to whom."""
        assert self.client.local is not None and self.client.remote is not None
        return self.client.local, self.client.remote

    # For tests

    def reset(self) -> None:
        """Break the connection now; both ends see a reset."""
        for sock in (self.client, self.server):
            if sock is not None:
                sock.fail(errno.ECONNRESET)

    def hold(self, held: bool = True) -> None:
        """Hold back everything that is sent; ``hold(False)`` lets it go on."""
        for pipe in (self._forward, self._backward):
            pipe.held = held
            pipe.refresh()

    # For sockets

    def begin(self) -> None:
        """Send the first packet."""
        self._kernel.connections[self] = None
        self._kernel.ways.watch(self._forward)
        self._kernel.ways.watch(self._backward)
        self._forward.send(Signal.CONNECT)

    def closed(self) -> None:
        """One end was closed; with the other one the connection is forgotten."""
        if self.client.state is State.CLOSED and (self.server is None or self.server.state is State.CLOSED):
            self._kernel.connections.pop(self, None)
            self._kernel.ways.forget(self._forward)
            self._kernel.ways.forget(self._backward)

    def _reach(self, item: Item) -> None:
        """The first packet has arrived at the target."""
        client = self.client
        if item is not Signal.CONNECT or client.state is not State.CONNECTING:
            return
        assert client.remote is not None
        listener = self._kernel.listener_at(*self._kernel.route(self._forward.source, client.remote))
        if listener is None:
            self._backward.send(Signal.REFUSED)
            return
        if listener.full:
            clock = self._kernel.clock
            clock.at(clock.now + SYN_RETRY, lambda: self._reach(item))
            return
        self.server = server = StreamSocket(self._kernel, listener.host, client.family)
        server.local, server.remote = client.remote, client.local
        self._forward.receive = server.arrive
        server.established(self, incoming=self._forward, outgoing=self._backward)
        listener.pend(server)
        self._backward.send(Signal.ESTABLISHED)

    def _answer(self, item: Item) -> None:
        """The target's answer has arrived at the client."""
        client = self.client
        if item is Signal.ESTABLISHED and client.state is State.CONNECTING:
            self._backward.receive = client.arrive
            client.established(self, incoming=self._backward, outgoing=self._forward)
        elif item is Signal.REFUSED:
            client.fail(errno.ECONNREFUSED)
        elif client.state is State.CLOSED and self.server is not None:
            # The client gave up before it heard that it was connected.
            self._forward.send(Signal.RESET)

    def _server_space(self) -> None:
        if self.server is not None:
            self.server.mark()

    def _client_gives_up(self) -> None:
        self.client.fail(errno.ETIMEDOUT)

    def _server_gives_up(self) -> None:
        if self.server is not None:
            self.server.fail(errno.ETIMEDOUT)
