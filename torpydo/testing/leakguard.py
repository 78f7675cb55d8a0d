"""A trap for leaks: what goes out beside the onion network is refused, and told.

An application that is to be anonymous must not connect, send a datagram or look up a name by itself. A
:class:`LeakGuard` gives it a reactor that refuses all that (a real one or a simulated one underneath), and can do the
same to the ``socket`` module of the whole process (SECURITY S1, S7)::

    guard = LeakGuard(reactor)
    with guard:
        run_the_application(guard.reactor)
    guard.check()
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from torpydo.client import Client, World
from torpydo.directory import PoolURL
from torpydo.errors import PoolURLError, TorpydoError
from torpydo.net import LinkProtocol
from torpydo.testing.clock import SimulationError
from torpydo.testing.guardedreactor import GuardedReactor
from torpydo.testing.trap import trapped, unjudged

__all__ = ["Leak", "LeakError", "LeakGuard"]

_REMEDY = (
    "open it through the network with client.endpoint(host, port), or, if it is a way into the network, allow(host,"
    " port) it"
)
# Who only passes a call on: the line that is told of is the application's.
_BETWEEN = sys.stdlib_module_names | {"twisted", "zope", "treq"}
_OURS = (__name__, "torpydo.testing.trap", "torpydo.testing.guardedreactor")


@attrs.frozen
class Leak:
    """Something that would have gone out beside the network.

    :ivar what: what was tried
    :ivar where: the line of the application that did
    """

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what}, from {self.where}"


class LeakError(TorpydoError, socket.gaierror):
    """Something would have gone out beside the network.

    It is an :class:`OSError` too, and a failed lookup: what stands between, such as Twisted's resolver in its threads,
    passes no other error on, and would wait for ever. Whoever swallows it is found by :meth:`LeakGuard.check`.

    :ivar leaks: all of it
    """

    def __init__(self, leaks: Sequence[Leak]) -> None:
        # Twisted makes an error of its own of the number.
        super().__init__(errno.EACCES, f"beside the network: {'; '.join(map(str, leaks))}. Do this: {_REMEDY}")
        self.leaks = tuple(leaks)

    def __str__(self) -> str:
        return str(self.args[1])


class LeakGuard:
    """Refuses and records what goes out, except to where it may.

    As a context manager it traps the ``socket`` module of the process, too: lookups, connections and datagrams of any
    code, whichever reactor or thread it uses. Of guards inside each other the innermost decides. Not seen is what a C
    library does by itself, what other processes do, and what was connected before.

    :ivar leaks: what was refused so far
    :param reactor: what the application would run on; ``None`` for a guard of the process alone
    """

    def __init__(self, reactor: Any = None) -> None:
        self.leaks: list[Leak] = []
        self._reactor = None if reactor is None else GuardedReactor(reactor, self)
        self._addresses: set[tuple[str, int]] = set()
        self._names: dict[str, set[int]] = {}
        self._paths: set[str] = set()
        self._entering = False
        self._trap: list[AbstractContextManager[None]] = []

    @property
    def reactor(self) -> Any:
        """The reactor for the application: the one that the guard was given, without its ways out.

        :raises SimulationError: if the guard has none
        """
        if self._reactor is None:
            raise SimulationError("this guard was made without a reactor")
        return self._reactor

    # -- What may be reached

    def allow(self, host: str, port: int) -> None:
        """Let this address be connected to. If *host* is a name, it may be looked up, and so may its addresses."""
        literal = _literal(host)
        if literal is not None:
            self._addresses.add((literal, port))
        else:
            self._names.setdefault(_canonical(host), set()).add(port)

    @property
    def allowed(self) -> frozenset[tuple[str, int]]:
        """The addresses that may be connected to, those of allowed names and of nodes among them as they were seen."""
        return frozenset(self._addresses)

    def allow_unix(self, path: str) -> None:
        """Let this Unix socket be connected to."""
        self._paths.add(path)

    def create_client(
        self, pools: Sequence[str], state_dir: str | None, *, world: World | None = None, **options: Any
    ) -> Deferred[Client]:
        """As ``Client.create``, on the guarded reactor: the client may reach its pools, and nodes by links.

        :raises SimulationError: if the guard has no reactor
        """
        outside = world or World()
        try:
            for url in map(PoolURL.parse, pools):
                self.allow(url.host, url.port)
        except PoolURLError:
            return fail(Failure())

        def connect(*arguments: Any, **more: Any) -> Deferred[LinkProtocol]:
            # A link is to whom has the key of a node, whatever its address.
            with self._entry():
                return outside.connect(*arguments, **more)

        world = attrs.evolve(outside, connect=connect)
        return Client.create(self.reactor, pools, state_dir, world=world, **options)

    @contextmanager
    def _entry(self) -> Iterator[None]:
        before, self._entering = self._entering, True
        try:
            yield
        finally:
            self._entering = before

    # -- The end

    def check(self) -> None:
        """Fail if anything was refused.

        :raises LeakError: with everything that was
        """
        if self.leaks:
            raise LeakError(self.leaks)

    def __enter__(self) -> Self:
        trap = trapped(self)
        trap.__enter__()
        self._trap.append(trap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trap.pop().__exit__(kind, error, trace)

    # -- Judgements, also those that the trap asks for

    def judge_connection(self, host: str, port: int, how: str = "a TCP connection") -> None:
        """*host* is to be connected to.

        :raises LeakError: if it must not be
        """
        literal = _literal(host)
        if literal is None:
            if port not in self._names.get(_canonical(host), ()):
                self._refuse(f"{how} to {host} port {port}, which looks the name up")
        elif self._entering:
            self._addresses.add((literal, port))
        elif (literal, port) not in self._addresses:
            self._refuse(f"{how} to {host} port {port}")

    def judge_path(self, path: object) -> None:
        """A Unix socket is to be connected to.

        :raises LeakError: if it must not be
        """
        if _text(path) not in self._paths:
            self._refuse(f"a connection to the Unix socket {_text(path)!r}")

    def judge_socket(self, sock: socket.socket, address: Any) -> None:
        """See :class:`Judge`."""
        if sock.family == socket.AF_UNIX:
            self.judge_path(address)
        elif sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
            self.judge_connection(_text(address[0]), address[1])
        elif sock.type == socket.SOCK_DGRAM:
            self.refuse_datagrams(f"a datagram to {address!r}")
        else:
            self._refuse(f"{sock.type!r} to {address!r}")

    def judge_name(self, name: str) -> bool:
        """The addresses of *name* are asked for.

        :return: whether they are to be learned: an IP literal is its own
        :raises LeakError: if it must not be looked up
        """
        if not name or _literal(name) is not None:
            return False
        if _canonical(name) not in self._names:
            self._refuse(f"a lookup of the name {name!r}")
        return True

    def judge_lookup(self, name: str) -> None:
        """See :class:`Judge`."""
        if not self.judge_name(name):
            return
        # Here only the question is seen, so it is asked once more to learn which addresses the name stands for.
        with unjudged():
            try:
                for found in socket.getaddrinfo(name, None):
                    self.learn(name, str(found[4][0]))
            except OSError:
                # Who asks will be told the same.
                return

    def judge_reverse(self, address: object) -> None:
        """See :class:`Judge`."""
        self._refuse(f"a lookup of the name of {address!r}")

    def refuse_datagrams(self, what: str) -> NoReturn:
        """UDP never goes through the network.

        :raises LeakError: always
        """
        self._refuse(f"{what} (UDP)")

    def learn(self, name: str, address: str) -> None:
        """*name* was allowed and has this address."""
        literal = _literal(address)
        assert literal is not None
        self._addresses.update((literal, port) for port in self._names.get(_canonical(name), ()))

    def _refuse(self, what: str) -> NoReturn:
        leak = Leak(what, _caller())
        self.leaks.append(leak)
        raise LeakError([leak])


# -- Small things


def _literal(host: str) -> str | None:
    """The canonical form of an IP literal; ``None`` for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _text(given: object) -> str:
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)


def _canonical(name: str) -> str:
    return name.lower().removesuffix(".")


def _caller() -> str:
    """The line that the application wrote, as far as there is one."""
    frame: FrameType | None = sys._getframe(1)
    nearest: FrameType | None = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module not in _OURS:
            nearest = nearest or frame
            if module.partition(".")[0] not in _BETWEEN:
                nearest = frame
                break
        frame = frame.f_back
    if nearest is None:
        return "an unknown place"
    code = nearest.f_code
    return f"{code.co_filename}:{nearest.f_lineno} in {code.co_name}"
