"""Case 27: name servers that fail, lie or are slow, seen from the application's end of a SOCKS proxy.

torpydo asks the resolver of its machine, which hands on addresses or none: NXDOMAIN, SERVFAIL and a loop of CNAMEs look
the same from here, and how long an answer holds is not told. What the resolver itself does is in
tests/node/test_resolver, what exits do with answers in tests/node/test_exits.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.faults.base import FaultTestCase
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.socks import SocksFactory

TIME = 5.0
OPEN, REFUSED_BY_RULE, HOST_UNREACHABLE = 0, 2, 4
PRIVATE = ("10.9.9.9", "127.0.0.1", "192.168.7.7", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1")


class NameTests(FaultTestCase):
    """An application that asks for names."""

    def setUp(self) -> None:
        network = self.start()
        member = network.clients[0]
        factory = SocksFactory(network.client, member.reactor)
        port = member.reactor.listenTCP(1080, factory, interface=member.ip)
        self.addCleanup(lambda: network.success(port.stopListening()) if member.alive else None)
        self.local = network.reactor.host("10.9.9.8")
        self.servers = Servers()
        self.where = network.serve(self.servers, 80, "good.example")

    def ask(self, name: str) -> tuple[int, float]:
        """The code of the reply, and how long it took."""
        network = self.network
        begun = network.reactor.seconds()
        recorder = network.success(connectProtocol(TCP4ClientEndpoint(self.local, "10.0.2.1", 1080), Recorder()))
        host = name.encode()
        recorder.tcp.write(b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes((len(host),)) + host + b"\x00\x50")
        while len(recorder.data) < 4 and network.reactor.seconds() < begun + 120:
            network.advance(0.05)
        taken = network.reactor.seconds() - begun
        recorder.tcp.abortConnection()
        network.advance(0.5)
        return recorder.data[3], taken

    def asked(self) -> int:
        """How many questions the exits have asked."""
        return sum(len(node.reactor.names.lookups) for node in self.network.nodes)

    def assert_answer(self, name: str, code: int) -> None:
        """In time."""
        answer, taken = self.ask(name)
        self.assertEqual(answer, code, name)
        self.assertLess(taken, TIME, name)

    def test_no_address(self) -> None:
        """A name that does not exist, or that has no address, for whatever reason: the host cannot be reached."""
        self.network.internet.names["empty.example"] = []
        for name in ("nowhere.example", "empty.example", "a.b.c.d.e.f.g.h.example"):
            self.assert_answer(name, HOST_UNREACHABLE)
        self.oracle.check()

    def test_silence(self) -> None:
        """Three tries, and then the same."""
        for node in self.network.nodes:
            node.reactor.names.silent.add("silent.example.")
        self.assert_answer("silent.example", HOST_UNREACHABLE)
        self.oracle.check()

    def test_slow(self) -> None:
        """An answer to a later try is one."""
        for node in self.network.nodes:
            node.reactor.names.delay = 2.5
        self.assert_answer("good.example", OPEN)
        for node in self.network.nodes:
            node.reactor.names.delay = 0.0
        self.oracle.check()

    def test_private_answers(self) -> None:
        """A name that leads into a private network is refused by the rules, and nothing is connected to."""
        seen = self.network.reactor.host("10.9.9.9")
        trap = Servers()
        seen.listenTCP(80, trap, interface="10.9.9.9")
        for number, address in enumerate(PRIVATE):
            name = f"private{number}.example"
            self.network.internet.names[name] = [address]
            self.assert_answer(name, REFUSED_BY_RULE)
        self.assertEqual(trap.built, [])
        self.oracle.check()

    def test_rebinding(self) -> None:
        """A name that was public when it was judged and is private now: what was judged is what is connected to."""
        network = self.network
        trap = Servers()
        network.reactor.host("10.9.9.9").listenTCP(80, trap, interface="10.9.9.9")
        good = network.internet.names["good.example"]
        for first, second in ((good, ["10.9.9.9"]), (["10.9.9.9"], good), ([*good, "10.9.9.9"], ["10.9.9.9"])):
            name = f"rebinding{len(network.internet.names)}.example"
            network.internet.names[name] = first
            answer, taken = self.ask(name)
            self.assertEqual(answer, OPEN if good[0] in first else REFUSED_BY_RULE)
            self.assertLess(taken, TIME)
            network.internet.names[name] = second
            self.ask(name)
        self.assertEqual(trap.built, [])
        self.oracle.check()

    def test_many_addresses(self) -> None:
        """Sixty-four kilobytes of addresses: a few are tried, few are kept, and the client gets no more than fit."""
        network = self.network
        many = [f"10.0.3.{1 + number % 250}" for number in range(4096)]
        network.internet.names["many.example"] = many
        answer, taken = self.ask("many.example")
        self.assertEqual(answer, OPEN)
        self.assertLess(taken, TIME)
        answers = network.success(network.client.resolve("many.example"))
        self.assertLessEqual(len(answers), 32)
        self.oracle.check()

    def test_short_lives(self) -> None:
        """An answer that holds for no time is kept for a minute all the same: nobody can make an exit ask for each
        stream.
        """
        before = self.asked()
        for _ in range(20):
            self.assert_answer("good.example", OPEN)
        self.assertLessEqual(self.asked() - before, len(self.network.nodes))
        self.assertEqual({cast(str, name) for node in self.network.nodes for name in node.reactor.names.lookups[-1:]},
                         {"good.example."})
        self.oracle.check()
