"""A reactor with a guard before its ways out: connections, datagrams, lookups, and lookups in its threads.

Everything else is the reactor's own, a real one's or a simulated one's. Decides nothing: a :class:`Guard` is asked and
raises. Made by leakguard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import directlyProvides, implementer, providedBy

__all__ = ["Guard", "GuardedReactor"]

_LOOKUPS: Final = frozenset(
    ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn")
)


class Guard(Protocol):
    """Who decides what may go out. Each judgement returns if it may, and raises if not."""

    def judge_connection(self, host: str, port: int, how: str = "a TCP connection") -> None:
        """*host* is to be connected to."""

    def judge_path(self, path: object) -> None:
        """A Unix socket is to be connected to."""

    def judge_name(self, name: str) -> bool:
        """The addresses of *name* are asked for; tells whether they are to be learned."""

    def refuse_datagrams(self, what: str) -> NoReturn:
        """UDP never goes through the network."""

    def learn(self, name: str, address: str) -> None:
        """*name* was allowed and has this address."""


class GuardedReactor:
    """A reactor that asks a guard before anything goes out; everything else is the reactor's own."""

    def __init__(self, reactor: Any, guard: Guard) -> None:
        self._inner = reactor
        self._guard = guard
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connectTCP(self, host: str, port: int, *arguments: Any, **options: Any) -> Any:
        self._guard.judge_connection(host, port)
        return self._inner.connectTCP(host, port, *arguments, **options)

    def connectSSL(self, host: str, port: int, *arguments: Any, **options: Any) -> Any:
        self._guard.judge_connection(host, port, "a TLS connection")
        return self._inner.connectSSL(host, port, *arguments, **options)

    def connectUNIX(self, address: Any, *arguments: Any, **options: Any) -> Any:
        self._guard.judge_path(address)
        return self._inner.connectUNIX(address, *arguments, **options)

    def connectUNIXDatagram(self, address: Any, *arguments: Any, **options: Any) -> Any:
        self._guard.judge_path(address)
        return self._inner.connectUNIXDatagram(address, *arguments, **options)

    def listenUDP(self, port: int, *arguments: Any, **options: Any) -> NoReturn:
        self._guard.refuse_datagrams(f"a socket for datagrams on port {port}")

    def listenMulticast(self, port: int, *arguments: Any, **options: Any) -> NoReturn:
        self._guard.refuse_datagrams(f"a socket for multicast datagrams on port {port}")

    def adoptDatagramPort(self, descriptor: int, *arguments: Any, **options: Any) -> NoReturn:
        self._guard.refuse_datagrams("a socket for datagrams that was open before")

    def resolve(self, name: str, *arguments: Any, **options: Any) -> Deferred[str]:
        wanted = self._guard.judge_name(name)

        def found(address: str) -> str:
            if wanted:
                self._guard.learn(name, address)
            return address

        answer: Deferred[str] = self._inner.resolve(name, *arguments, **options)
        return answer.addCallback(found)

    @property
    def nameResolver(self) -> IHostnameResolver:
        return _GuardedResolver(self._inner.nameResolver, self._guard)

    def getThreadPool(self) -> Any:
        return _GuardedThreads(self._inner.getThreadPool(), self._guard)

    def callInThread(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        _judge_call(self._guard, function, arguments)
        self._inner.callInThread(function, *arguments, **options)

    def __repr__(self) -> str:
        return f"<guarded {self._inner!r}>"


@implementer(IHostnameResolver)
@attrs.define(eq=False)
class _GuardedResolver:
    _inner: IHostnameResolver
    _guard: Guard

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, *arguments: Any, **options: Any
    ) -> IHostResolution:
        """See :class:`IHostnameResolver`."""
        wanted = self._guard.judge_name(hostName)
        receiver = _Learning(resolutionReceiver, self._guard, hostName) if wanted else resolutionReceiver
        return self._inner.resolveHostName(receiver, hostName, *arguments, **options)


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _Learning:
    _inner: IResolutionReceiver
    _guard: Guard
    _name: str

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See :class:`IResolutionReceiver`."""
        self._inner.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        """See :class:`IResolutionReceiver`."""
        self._guard.learn(self._name, str(getattr(address, "host", "")))
        self._inner.addressResolved(address)

    def resolutionComplete(self) -> None:
        """See :class:`IResolutionReceiver`."""
        self._inner.resolutionComplete()


class _GuardedThreads:
    """A thread pool that is not used for lookups."""

    def __init__(self, pool: Any, guard: Guard) -> None:
        self._pool = pool
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def callInThread(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        _judge_call(self._guard, function, arguments)
        self._pool.callInThread(function, *arguments, **options)

    def callInThreadWithCallback(
        self, answer: Any, function: Callable[..., object], *arguments: Any, **options: Any
    ) -> None:
        _judge_call(self._guard, function, arguments)
        self._pool.callInThreadWithCallback(answer, function, *arguments, **options)


def _judge_call(guard: Guard, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    if getattr(function, "__name__", "") in _LOOKUPS and getattr(function, "__module__", "") in ("socket", "_socket"):
        guard.judge_name(str(arguments[0]) if arguments else "")
