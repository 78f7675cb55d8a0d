"""The simulated internet: who has which address, who listens where, which sockets and connections there are.

There is one flat space of addresses; a loopback address is a host like any other. The first host also has every
address that no other host has claimed, so one host alone can listen on and connect to anything.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6

import attrs

from torpydo.testing.clock import SimulationError, VirtualClock
from torpydo.testing.connections import Connection, ListeningSocket
from torpydo.testing.sockets import Endpoint, Host, Socket, kernel_error
from torpydo.testing.splits import Split
from torpydo.testing.ways import Ways

EPHEMERAL_PORTS = range(49152, 65536)
"""What IANA sets aside for ports that nobody chose."""
FIRST_FD = 1 << 20
"""Above every number that a real file could have, so that a mix-up is an error and not an accident."""
WILDCARDS = {"": AF_INET, "0.0.0.0": AF_INET, "::": AF_INET6}

Tap = Callable[[str, str, bytes], bytes]
"""Called with source address, target address and what was sent; answers what arrives instead."""


def family_of(ip: str) -> int:
    """The address family of an IP literal."""
    return AF_INET6 if ":" in ip else AF_INET


@attrs.define(eq=False)
class Internet:
    """Everything that simulated processes share.

    :ivar ways: what the ways between addresses are like
    :ivar names: what the resolvers of all hosts know: name -> IP literals
    :ivar split: decides how many of the bytes that have arrived one read returns; None: as many as there is room for
    :ivar tap: sees, and may change, everything that is sent
    :ivar connections: those that are open, oldest first
    :ivar sockets: those that are open, by number
    """

    clock: VirtualClock
    ways: Ways
    split: Split | None = None
    tap: Tap | None = None
    names: dict[str, Sequence[str]] = attrs.Factory(lambda: {"localhost": ["127.0.0.1"]})
    connections: dict[Connection, None] = attrs.Factory(dict)
    sockets: dict[int, Socket] = attrs.Factory(dict)
    _root: Host | None = None
    _owners: dict[str, Host] = attrs.Factory(dict)
    _listeners: dict[Endpoint, ListeningSocket] = attrs.Factory(dict)
    _wildcards: dict[tuple[Host, int, int], ListeningSocket] = attrs.Factory(dict)
    _diversions: dict[tuple[str | None, Endpoint], Endpoint] = attrs.Factory(dict)
    _next_port: int = EPHEMERAL_PORTS.start
    _next_fd: int = FIRST_FD

    def connections_of(self, *addresses: str) -> list[Connection]:
        """The open connections with one of *addresses* at either end."""
        return [each for each in self.connections if {end[0] for end in each.ends} & set(addresses)]

    # Addresses

    def join(self, host: Host) -> None:
        """Give *host* its addresses."""
        for ip in host.addresses:
            if ip in self._owners:
                raise SimulationError(f"{ip} belongs to another simulated host; kill that one first")
        if self._root is None:
            self._root = host
        for ip in host.addresses:
            self._owners[ip] = host

    def leave(self, host: Host) -> None:
        """Take the addresses of *host* away, so that another host can have them."""
        for ip in host.addresses:
            self._owners.pop(ip, None)

    def source_for(self, host: Host, target: str) -> str:
        """The address from which *host* connects to *target*.

        :raises OSError: if it has none of that family
        """
        if target in host.addresses:
            return target
        for ip in host.addresses:
            if family_of(ip) == family_of(target):
                return ip
        raise kernel_error(errno.ENETUNREACH)

    def ephemeral_port(self, ip: str) -> int:
        """A port that is free at *ip*."""
        for _ in EPHEMERAL_PORTS:
            port = self._next_port
            self._next_port = port + 1 if port + 1 in EPHEMERAL_PORTS else EPHEMERAL_PORTS.start
            if self.listener_at(ip, port) is None:
                return port
        raise kernel_error(errno.EADDRINUSE)

    def _owner(self, ip: str) -> Host | None:
        return self._owners.get(ip, self._root)

    # Sockets

    def register(self, sock: Socket) -> int:
        """Give a new socket its number."""
        self._next_fd += 1
        self.sockets[self._next_fd] = sock
        return self._next_fd

    def unregister(self, sock: Socket) -> None:
        """A socket was closed."""
        self.sockets.pop(sock.fileno(), None)

    def bind(self, listener: ListeningSocket, ip: str, port: int) -> Endpoint:
        """Reserve an address for *listener*; the empty one means all of its host's.

        :raises OSError: if it is taken, or not the host's
        """
        host, family = listener.host, WILDCARDS.get(ip)
        if family is None:
            if self._owner(ip) is not host:
                raise kernel_error(errno.EADDRNOTAVAIL)
            port = port or self.ephemeral_port(ip)
            if (ip, port) in self._listeners or (host, family_of(ip), port) in self._wildcards:
                raise kernel_error(errno.EADDRINUSE)
            self._listeners[ip, port] = listener
            return ip, port
        port = port or self.ephemeral_port(ip)
        taken = {(self._owner(at), family_of(at), where) for at, where in self._listeners} | set(self._wildcards)
        if (host, family, port) in taken:
            raise kernel_error(errno.EADDRINUSE)
        self._wildcards[host, family, port] = listener
        return ip or "0.0.0.0", port

    def unbind(self, listener: ListeningSocket) -> None:
        """Release the address of *listener*."""
        self._listeners = {key: value for key, value in self._listeners.items() if value is not listener}
        self._wildcards = {key: value for key, value in self._wildcards.items() if value is not listener}

    def divert(self, target: Endpoint, to: Endpoint, source: str | None = None) -> None:
        """Let connections to *target*, of everybody or of *source* alone, end at *to*: they do not notice. Those that
        the host of *to* opens itself are not diverted, so that it can pass on what it gets.
        """
        self._diversions[source, target] = to

    def route(self, source: str, target: Endpoint) -> Endpoint:
        """Where a connection from *source* to *target* ends."""
        via = self._diversions.get((source, target)) or self._diversions.get((None, target))
        return target if via is None or via[0] == source else via

    def listener_at(self, ip: str, port: int) -> ListeningSocket | None:
        """Who listens there."""
        exact = self._listeners.get((ip, port))
        owner = self._owner(ip)
        if exact is not None or owner is None:
            return exact
        return self._wildcards.get((owner, family_of(ip), port))
