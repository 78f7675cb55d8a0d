"""Tests of torpydo.testing.leakguard, and of the trap and the reactor under it. Nothing here leaves the process."""

from __future__ import annotations

import _socket
import errno
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from socket import getaddrinfo as taken_before
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTCP, IReactorUDP
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import Recorder, Servers
from torpydo.errors import PoolURLError, TorpydoError
from torpydo.testing import LeakError, LeakGuard, LocalNetwork, SimulatedReactor, SimulationError

NAME = "leak.example"
ELSEWHERE = "10.1.0.2"


def call_lookup(function: Callable[..., Any], *arguments: Any) -> Callable[[], object]:
    """A lookup that is made later."""
    return lambda: function(*arguments)


def with_socket(kind: int, act: Callable[[socket.socket], object], family: int = socket.AF_INET) -> Callable[[], None]:
    """Something that is done with a new socket."""

    def do() -> None:
        with socket.socket(family, kind) as sock:
            sock.setblocking(False)
            act(sock)

    return do


GETFQDN = call_lookup(socket.getfqdn, ELSEWHERE)


class GuardedReactorTests(SynchronousTestCase):
    """What an application can do with the guard's reactor."""

    def setUp(self) -> None:
        root = SimulatedReactor()
        self.world = root
        self.own = root.host("10.1.0.1")
        self.guard = LeakGuard(self.own)
        self.servers = Servers(Recorder)
        root.host(ELSEWHERE).listenTCP(80, self.servers)
        root.internet.names[NAME] = [ELSEWHERE]

    def connect(self, endpoint: Any) -> Recorder:
        """Connect it, in virtual time."""
        return self.world.success(connectProtocol(endpoint, Recorder()))

    def assertLeak(self, act: Callable[[], object], *words: str) -> None:
        """It is refused, recorded, and said where and what to do."""
        error = self.assertRaises(LeakError, act)
        (leak,) = self.guard.leaks
        for word in words:
            self.assertIn(word, leak.what)
        self.assertIn(__file__, leak.where)
        self.assertIn(str(leak), str(error))
        self.assertIn("client.endpoint(host, port)", str(error))
        self.assertEqual(self.assertRaises(LeakError, self.guard.check).leaks, (leak,))

    def test_a_connection(self) -> None:
        """An address that was not allowed is not connected to."""
        self.assertLeak(lambda: self.guard.reactor.connectTCP(ELSEWHERE, 80, Factory()), "TCP", ELSEWHERE, "80")
        self.world.flush()
        self.assertEqual(self.servers.built, [])

    def test_an_endpoint(self) -> None:
        """Nor by an endpoint."""
        self.assertLeak(lambda: self.connect(TCP4ClientEndpoint(self.guard.reactor, ELSEWHERE, 80)), ELSEWHERE)

    def test_tls(self) -> None:
        """Nor with TLS."""
        self.assertLeak(lambda: self.guard.reactor.connectSSL(ELSEWHERE, 443, Factory(), None), "TLS", "443")

    def test_allowed(self) -> None:
        """An address that was allowed is, in any spelling; the guard has nothing to say."""
        self.guard.allow(ELSEWHERE, 80)
        self.guard.allow("::0:1", 80)
        self.connect(TCP4ClientEndpoint(self.guard.reactor, ELSEWHERE, 80))
        self.guard.judge_connection("::1", 80)
        self.assertEqual(len(self.servers.built), 1)
        self.guard.check()

    def test_another_port(self) -> None:
        """Allowed is one port."""
        self.guard.allow(ELSEWHERE, 81)
        self.assertLeak(lambda: self.guard.reactor.connectTCP(ELSEWHERE, 80, Factory()), "port 80")

    def test_a_name(self) -> None:
        """A name is refused before anybody looks it up."""
        self.assertLeak(lambda: self.guard.reactor.connectTCP(NAME, 80, Factory()), NAME, "looks the name up")
        self.assertEqual(self.own.names.lookups, [])

    def test_a_name_at_an_endpoint(self) -> None:
        """An endpoint asks the reactor's resolver, which refuses."""
        self.assertLeak(lambda: self.connect(HostnameEndpoint(self.guard.reactor, NAME, 80)), NAME)
        self.assertEqual(self.own.names.lookups, [])

    def test_resolve(self) -> None:
        """The older way to look up a name is refused, too."""
        self.assertLeak(lambda: self.guard.reactor.resolve(NAME), NAME)
        self.assertEqual(self.own.names.lookups, [])

    def test_literals_are_no_lookups(self) -> None:
        """An address is its own answer."""
        self.assertEqual(self.world.success(self.guard.reactor.resolve(ELSEWHERE)), ELSEWHERE)
        self.guard.check()

    def test_an_allowed_name(self) -> None:
        """It is looked up, and its addresses may be connected to: at its port."""
        self.guard.allow(NAME.upper() + ".", 80)
        self.connect(HostnameEndpoint(self.guard.reactor, NAME, 80))
        self.guard.check()
        self.assertLeak(lambda: self.guard.reactor.connectTCP(ELSEWHERE, 81, Factory()), "port 81")

    def test_an_allowed_name_that_is_resolved(self) -> None:
        """What the older way answers may be connected to."""
        self.guard.allow(NAME, 80)
        address = self.world.success(self.guard.reactor.resolve(NAME))
        self.connect(TCP4ClientEndpoint(self.guard.reactor, address, 80))
        self.guard.check()

    def test_datagrams(self) -> None:
        """No socket for datagrams is made."""
        reactor = self.guard.reactor
        for act in (
            lambda: reactor.listenUDP(0, DatagramProtocol()),
            lambda: reactor.listenMulticast(0, DatagramProtocol()),
            lambda: reactor.adoptDatagramPort(3, socket.AF_INET, DatagramProtocol()),
        ):
            self.guard.leaks.clear()
            self.assertLeak(act, "UDP")

    def test_unix_sockets(self) -> None:
        """What listens on a Unix socket may send it on: it must be allowed by name."""
        reactor = self.guard.reactor
        self.assertLeak(lambda: reactor.connectUNIX("/run/x", Factory()), "/run/x")
        self.guard.leaks.clear()
        self.assertLeak(lambda: reactor.connectUNIXDatagram(b"/run/x", DatagramProtocol()), "/run/x")
        self.guard.allow_unix("/run/x")
        self.guard.judge_path("/run/x")

    def test_everything_else_is_the_reactors(self) -> None:
        """Time, listening, and what it says it can."""
        reactor = self.guard.reactor
        called: list[int] = []
        reactor.callLater(5, called.append, 1)
        self.world.advance(5)
        self.assertEqual((called, reactor.seconds()), ([1], 5))
        self.assertTrue(IReactorTCP.providedBy(reactor) and IReactorPluggableNameResolver.providedBy(reactor))
        self.assertFalse(IReactorUDP.providedBy(reactor))
        reactor.listenTCP(90, self.servers)
        self.assertRaises(AttributeError, lambda: reactor.no_such_thing)

    def test_without_reactor(self) -> None:
        """A guard of the process alone has none to give."""
        self.assertRaises(SimulationError, lambda: LeakGuard().reactor)


class Threads:
    """A reactor, as far as threads go: it runs what it is given at once."""

    def __init__(self) -> None:
        self.ran: list[object] = []

    def getThreadPool(self) -> Threads:
        return self

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def callInThread(self, function: Callable[..., object], *arguments: Any) -> None:
        self.ran.append(function(*arguments))

    def callInThreadWithCallback(
        self, answer: Callable[..., object], function: Callable[..., object], *arguments: Any
    ) -> None:
        answer(True, function(*arguments))


class ThreadTests(SynchronousTestCase):
    """Lookups that an application has done in the reactor's threads, without a trap for the process."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.guard = LeakGuard(self.threads)
        self.reactor = self.guard.reactor

    def test_lookups(self) -> None:
        """All of them are seen."""
        pool = self.reactor.getThreadPool()
        for number, function in enumerate((socket.getaddrinfo, socket.gethostbyname, socket.getfqdn), 1):
            self.assertRaises(LeakError, deferToThreadPool, self.reactor, pool, function, NAME, 80)
            self.assertEqual(len(self.guard.leaks), number)
        self.assertRaises(LeakError, self.reactor.callInThread, socket.gethostbyname, NAME)
        self.assertRaises(LeakError, pool.callInThread, socket.gethostbyname, NAME)

    def test_other_work(self) -> None:
        """Everything else is done."""
        done: Deferred[int] = deferToThreadPool(self.reactor, self.reactor.getThreadPool(), max, 1, 2)
        self.assertEqual(self.successResultOf(done), 2)
        self.reactor.callInThread(max, 3, 4)
        self.reactor.getThreadPool().callInThread(max, 5, 6)
        self.assertEqual(self.threads.ran, [4, 6])
        self.guard.check()


class TrapTests(SynchronousTestCase):
    """What any code of the process can do by itself, under the trap."""

    TRIES: tuple[tuple[str, Callable[[], object]], ...] = (
        (NAME, call_lookup(socket.getaddrinfo, NAME, 80)),
        (NAME, call_lookup(taken_before, NAME.encode(), 80)),
        (NAME, call_lookup(_socket.getaddrinfo, NAME, 80)),
        (NAME, call_lookup(socket.gethostbyname, NAME)),
        (NAME, call_lookup(socket.gethostbyname_ex, NAME)),
        (NAME, call_lookup(socket.create_connection, (NAME, 80))),
        (NAME, call_lookup(urllib.request.urlopen, f"http://{NAME}/")),
        ("localhost", call_lookup(socket.getaddrinfo, "localhost", 80)),
        (ELSEWHERE, call_lookup(socket.gethostbyaddr, ELSEWHERE)),
        (ELSEWHERE, GETFQDN),
        (ELSEWHERE, call_lookup(socket.getnameinfo, (ELSEWHERE, 80), 0)),
        (ELSEWHERE, call_lookup(socket.create_connection, (ELSEWHERE, 80))),
        (ELSEWHERE, with_socket(socket.SOCK_STREAM, lambda sock: sock.connect((ELSEWHERE, 80)))),
        (ELSEWHERE, with_socket(socket.SOCK_STREAM, lambda sock: sock.connect_ex((ELSEWHERE, 80)))),
        (ELSEWHERE, with_socket(socket.SOCK_STREAM, lambda sock: _socket.socket.connect(sock, (ELSEWHERE, 80)))),
        (NAME, with_socket(socket.SOCK_STREAM, lambda sock: sock.connect((NAME, 80)))),
        ("::2", with_socket(socket.SOCK_STREAM, lambda sock: sock.connect(("::2", 80)), socket.AF_INET6)),
        ("127.0.0.53", with_socket(socket.SOCK_DGRAM, lambda sock: sock.sendto(b"?", ("127.0.0.53", 53)))),
        ("127.0.0.53", with_socket(socket.SOCK_DGRAM, lambda sock: sock.sendto(b"?", 0, ("127.0.0.53", 53)))),
        ("127.0.0.53", with_socket(socket.SOCK_DGRAM, lambda sock: sock.sendmsg([b"?"], [], 0, ("127.0.0.53", 53)))),
        ("127.0.0.53", with_socket(socket.SOCK_DGRAM, lambda sock: sock.connect(("127.0.0.53", 53)))),
        ("/run/nscd", with_socket(socket.SOCK_STREAM, lambda sock: sock.connect("/run/nscd"), socket.AF_UNIX)),
        ("/run/log", with_socket(socket.SOCK_DGRAM, lambda sock: sock.sendto(b"?", "/run/log"), socket.AF_UNIX)),
    )

    def test_every_way_out(self) -> None:
        """Each is refused, recorded with its target, and with this file as the place where it comes from."""
        for number, (target, act) in enumerate(self.TRIES):
            with LeakGuard() as guard:
                try:
                    act()
                except OSError as error:
                    # urllib makes another one of it.
                    self.assertIn("beside the network", str(error))
                else:
                    # It swallows every error of its lookup.
                    self.assertIs(act, GETFQDN)
            self.assertIn(target, guard.leaks[0].what, number)
            self.assertIn(__file__, guard.leaks[0].where, number)

    def test_in_a_thread(self) -> None:
        """Threads are not exempt."""
        caught: list[BaseException] = []

        def look_up() -> None:
            try:
                socket.getaddrinfo(NAME, 80)
            except LeakError as error:
                caught.append(error)

        with LeakGuard() as guard:
            thread = threading.Thread(target=look_up)
            thread.start()
            thread.join()
        self.assertEqual((len(caught), len(guard.leaks)), (1, 1))

    def test_what_is_no_way_out(self) -> None:
        """Literals, numbers, pairs, and what is connected already."""
        with LeakGuard() as guard:
            self.assertEqual(socket.getaddrinfo(ELSEWHERE, 80, type=socket.SOCK_STREAM)[0][4], (ELSEWHERE, 80))
            self.assertTrue(socket.getaddrinfo(None, 80))
            numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            self.assertEqual(socket.getnameinfo((ELSEWHERE, 80), numeric), (ELSEWHERE, "80"))
            left, right = socket.socketpair()
            left.sendmsg([b"here"])
            self.assertEqual(right.recv(9), b"here")
            left.close()
            right.close()
        guard.check()

    def test_an_error_that_everybody_passes_on(self) -> None:
        """Who expects a lookup or a connection to fail is not surprised, and its text is one for people."""
        with LeakGuard():
            error = self.assertRaises(socket.gaierror, socket.getaddrinfo, NAME, 80)
        self.assertIsInstance(error, TorpydoError)
        self.assertEqual(error.errno, errno.EACCES)
        self.assertTrue(str(error).startswith("beside the network: a lookup of the name 'leak.example', from "))

    def test_one_line_for_each_leak(self) -> None:
        """The check tells all of them."""
        with LeakGuard() as guard:
            for name in ("one.example", "two.example"):
                self.assertRaises(LeakError, socket.getaddrinfo, name, 80)
        text = str(self.assertRaises(LeakError, guard.check))
        self.assertIn("one.example", text)
        self.assertIn("two.example", text)

    def test_allowed(self) -> None:
        """An address that was allowed passes: streams, no datagrams."""
        with LeakGuard() as guard, socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            guard.allow("127.0.0.1", 80)
            guard.judge_socket(sock, ("127.0.0.1", 80))
            guard.check()
            self.assertRaises(LeakError, guard.judge_socket, datagrams, ("127.0.0.1", 80))

    def test_the_innermost_decides(self) -> None:
        """A guard inside another one is for what happens inside."""
        outer, inner = LeakGuard(), LeakGuard()
        with outer:
            with inner:
                self.assertRaises(LeakError, socket.getaddrinfo, NAME, 80)
            self.assertRaises(LeakError, socket.getaddrinfo, "other.example", 80)
        self.assertEqual([leak.what for leak in inner.leaks], [f"a lookup of the name '{NAME}'"])
        self.assertEqual([leak.what for leak in outer.leaks], ["a lookup of the name 'other.example'"])

    def test_afterwards(self) -> None:
        """Outside of the block nobody is asked, and the module is as it was."""
        before = vars(socket.socket).get("connect"), socket.getnameinfo
        guard = LeakGuard()
        with LeakGuard() as inside:
            with guard:
                self.assertNotEqual((vars(socket.socket).get("connect"), socket.getnameinfo), before)
            self.assertEqual(inside.leaks, [])
        self.assertEqual((vars(socket.socket).get("connect"), socket.getnameinfo), before)
        with LeakGuard() as inside:
            # What Python would report about a lookup; none is made.
            self.assertRaises(LeakError, sys.audit, "socket.getaddrinfo", NAME, 80, 0, 0, 0)
        self.assertEqual(guard.leaks, [])

    def test_other_kinds_of_sockets(self) -> None:
        """What is neither TCP nor UDP is refused as well."""
        with LeakGuard() as guard, socket.socketpair()[0] as pair:
            pair.close()
            raw = _FakeRaw()
            self.assertRaises(LeakError, guard.judge_socket, raw, (ELSEWHERE, 0))


class _FakeRaw:
    """A raw socket, which only root may open."""

    family = socket.AF_INET
    type = socket.SOCK_RAW


class ClientTests(SynchronousTestCase):
    """A client of the network on a guarded reactor, as every client of a local network is."""

    def setUp(self) -> None:
        self.network = LocalNetwork()
        self.network.start()
        self.member = self.network.clients[0]
        (self.guard,) = self.member.guards

    def test_the_network_and_nothing_else(self) -> None:
        """The client reaches its pool, its guard, and through them a destination; the application beside it nothing."""
        network = self.network
        self.addCleanup(network.close)
        where = network.serve(Servers(Recorder), 7)
        network.success(connectProtocol(network.client.endpoint(*where), Recorder()))
        self.guard.check()
        told = {ends[1][0] for ends in (one.ends for one in network.internet.connections_of(self.member.ip))}
        self.assertTrue(told)
        self.assertLessEqual(told, {network.pool.ip, *(node.ip for node in network.nodes)})
        address = network.destinations[where[0]].ip
        with self.guard:
            self.assertRaises(LeakError, self.guard.reactor.connectTCP, address, 7, Factory.forProtocol(Protocol))
        self.guard.leaks.clear()

    def test_links_open_the_way_to_nodes_only(self) -> None:
        """What the client was allowed is its pool and nodes, each at one port."""
        self.addCleanup(self.network.close)
        nodes = {(node.ip, 6000) for node in self.network.nodes}
        allowed = set(self.guard.allowed)
        self.assertEqual(allowed - nodes, {(self.network.pool.ip, 80)})
        self.assertTrue(allowed & nodes)

    def test_a_bad_url(self) -> None:
        """A pool's URL that is none fails as it does without a guard."""
        self.addCleanup(self.network.close)
        self.failureResultOf(self.guard.create_client(["nonsense"], None), PoolURLError)

    def test_the_network_tells_of_a_leak(self) -> None:
        """A client that leaves its network would be told of at the end of any test of a network."""
        self.assertRaises(LeakError, self.guard.reactor.connectTCP, "10.0.3.1", 80, Factory())
        self.assertIn("10.0.3.1", str(self.assertRaises(SimulationError, self.network.close)))
