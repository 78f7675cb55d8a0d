"""Every refusal of a node is counted under its cause; what is tested elsewhere with its limit is not repeated here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from tests.node.network import PORT, Relay, Traveller, World
from torpydo.node import NodeRefusal
from torpydo.tpdp import Address, EndReason, HopAdded, StreamEnded

SITE = "203.0.113.1"


class RefusalTests(SynchronousTestCase):
    """Two nodes, of which the first is watched."""

    def setUp(self) -> None:
        self.world = World()
        self.node = self.world.relay("accept *:80")
        self.peer = self.world.relay()
        self.world.publish()

    def build(self, *path: Relay, **changes: Any) -> Traveller:
        """A circuit; *changes* are to what the client says of its last hop."""
        traveller = self.world.traveller(*path)
        hops = list(traveller.path)
        hops[-1] = attrs.evolve(hops[-1], **changes)
        traveller.path = hops
        traveller.__attrs_post_init__()
        return traveller.build()

    def built(self, count: int, link_of: Traveller) -> int:
        """How many of so many more circuits over a link the node makes."""
        before = self.node.router.status().circuits
        for _ in range(count):
            self.world.traveller(self.node).build(link_of.link)
        return self.node.router.status().circuits - before

    def test_circuits_of_one_host(self) -> None:
        """However slowly they are asked for."""
        self.node.restrict(circuits_per_host=3)
        first = self.build(self.node)
        self.assertEqual(self.built(5, first), 2)
        other = self.world.traveller(self.node, host="198.51.100.2").build()
        self.assertEqual(other.of_kind(HopAdded), [HopAdded(1)])
        self.assertEqual(self.node.refused(), {"circuits_per_host": 3})

    def test_circuits_of_another_node(self) -> None:
        """On each of its links."""
        self.node.restrict(circuits_per_link=3)
        first = self.world.traveller(self.node, identity=self.peer.key).build()
        self.assertEqual(self.built(5, first), 2)
        self.assertEqual(self.node.refused(), {"circuits_per_link": 3})

    def test_turns_by_who_asks(self) -> None:
        """Another node has one turn, however many links it has, and so has a host of clients (SECURITY D3)."""
        creates = self.node.router._creates
        # Nothing is answered.
        vars(creates)["run"] = lambda: None
        for _ in range(2):
            self.world.traveller(self.node, identity=self.peer.key).build()
            self.build(self.node)
        self.build(self.node).build()
        other = self.world.traveller(self.node, host="198.51.100.2").build()
        assert other.link is not None
        waiting = {asker: len(queue) for asker, queue in creates._handshakes._waiting.items()}
        hosts = bytes([198, 51, 100, 1]), bytes([198, 51, 100, 2])
        self.assertEqual(waiting, {self.peer.key.node_id: 2, hosts[0]: 4, hosts[1]: 1})

    def test_wrong_key(self) -> None:
        """A CREATE that was made for another one."""
        self.assertTrue(self.build(self.node, onion_key=self.peer.hop.onion_key).destroyed)
        self.assertEqual(self.node.refused(), {"creates_malformed": 1})

    def test_old_link(self) -> None:
        """A CREATE on it."""
        self.node.restrict(link_age=1.0)
        first = self.build(self.node)
        self.world.reactor.advance(62.0)
        self.assertEqual(self.built(1, first), 0)
        self.assertEqual(self.node.refused(), {"creates_on_old_link": 1})

    def test_broken_cell(self) -> None:
        """It costs its circuit, once."""
        traveller = self.build(self.node)
        assert traveller.link is not None
        traveller.link.send_cells(traveller.circ_id, [(3, bytes(1024))] * 2)
        self.world.flush()
        self.assertTrue(traveller.destroyed)
        self.assertEqual(self.node.refused(), {"circuits_broken": 1})

    def test_broken_link(self) -> None:
        """Bytes that are no record."""
        traveller = self.build(self.node)
        assert traveller.link is not None
        transport: Any = traveller.link.transport
        transport.write(bytes(64))
        self.world.flush()
        self.assertTrue(traveller.lost)
        self.assertEqual(self.node.refused(), {"links_broken": 1})

    def test_a_link_that_just_ends(self) -> None:
        """It is nobody's fault."""
        traveller = self.build(self.node)
        assert traveller.link is not None
        traveller.link.abort("enough")
        self.world.flush()
        self.assertEqual(self.node.refused(), {})

    def test_extensions(self) -> None:
        """By what the client is told."""

        def nowhere() -> None:
            self.build(self.node, self.node)

        def nobody() -> None:
            self.build(self.node, self.peer, node_id=node_id("nobody"), address=Address(bytes([20, 9, 9, 9]), PORT))

        def unwilling() -> None:
            self.build(self.node, self.peer, onion_key=self.node.hop.onion_key)

        def crowded() -> None:
            self.node.restrict(dials=0)
            self.build(self.node, self.peer, node_id=node_id("nobody"), address=Address(bytes([20, 9, 9, 9]), PORT))

        expected: dict[str, int] = {}
        cases: tuple[tuple[Callable[[], None], str], ...] = (
            (nowhere, "extend_refused"),
            (nobody, "extend_unreachable"),
            (unwilling, "extend_destroyed"),
            (crowded, "extend_resource_limit"),
        )
        for attempt, cause in cases:
            attempt()
            expected[cause] = 1
            self.assertEqual(self.node.refused(), expected)

    def reason(self, traveller: Traveller, port: int = 80) -> EndReason:
        """Why a stream is refused."""
        before = len(traveller.of_kind(StreamEnded))
        traveller.begin(SITE, port)
        return EndReason(traveller.of_kind(StreamEnded)[before].reason)

    def test_streams(self) -> None:
        """By whose rule it was."""
        through = self.world.traveller(self.peer, self.node).build()
        self.assertEqual(self.reason(through, 81), EndReason.EXIT_POLICY)
        self.assertEqual(self.node.refused(), {"exit_policy": 1})
        closed = self.world.traveller(self.node, self.peer).build()
        self.assertEqual(self.reason(closed), EndReason.EXIT_POLICY)
        self.assertEqual(self.peer.refused(), {"exit_policy": 1})
        self.assertEqual(self.reason(self.build(self.node)), EndReason.EXIT_POLICY)
        self.assertEqual(self.node.refused(), {"exit_policy": 1, "single_hop": 1})
        # A destination that refuses is no refusal of the node's.
        self.world.server(SITE, 8080)
        self.assertEqual(self.reason(through), EndReason.CONNECT_REFUSED)
        self.assertEqual(self.node.refused(), {"exit_policy": 1, "single_hop": 1})

    def test_lookups(self) -> None:
        """More of them than the node does at one time."""
        self.node.exits.resolver._limits = attrs.evolve(self.node.exits.resolver._limits, lookups=0)
        through = self.world.traveller(self.peer, self.node).build()
        through.begin("one.example")
        through.circuit.end.resolve("two.example")
        through.send()
        self.assertEqual([one.reason for one in through.of_kind(StreamEnded)], [EndReason.RESOURCE_LIMIT] * 2)
        self.assertEqual(self.node.refused(), {"streams_resource_limit": 2})


class CausesTests(SynchronousTestCase):
    """The enumeration."""

    def test_every_cause_is_counted_somewhere(self) -> None:
        """One that no code names would be a promise that nobody keeps."""
        folder = Path(__file__).parents[2] / "torpydo"
        code = "".join(path.read_text() for room in ("node", "net") for path in (folder / room).rglob("*.py"))
        missing = [one.name for one in NodeRefusal if f".{one.name}" not in code]
        self.assertEqual(missing, [])

    def test_words(self) -> None:
        """Each has its own."""
        self.assertEqual(len({one.value for one in NodeRefusal}), len(list(NodeRefusal)))
