"""The DHT on the nodes of a network, and clients that use it through circuits."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults

from tests.network.base import NetworkTestCase, router_of
from torpydo.apps.dht import ClientDHT
from torpydo.apps.dht.nodedht import CUT_OFF, NodeDHTStatus
from torpydo.client import Circuit, Client
from torpydo.client.questions import ANSWER
from torpydo.crypto import NodeId
from torpydo.dht import REPUBLISH, Item, Participant, Put
from torpydo.errors import CircuitError
from torpydo.net import Participants
from torpydo.onion import Secret, SigningKey
from torpydo.testing import LocalNetwork
from torpydo.testing.members import ClientMember, NodeMember

OWNER = SigningKey(Secret(b"o" * 32))
OTHER = SigningKey(Secret(b"p" * 32))


class DHTTestCase(NetworkTestCase):
    """Six nodes that take part."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(LocalNetwork(nodes=6, dht=True))

    def begin(self, network: LocalNetwork) -> None:
        """Start it; its nodes have looked around when this returns."""
        self.network = network
        self.addCleanup(self.finish, network)
        network.start()
        network.advance(10)

    def dht(self, member: ClientMember | None = None, client: Any = None) -> ClientDHT:
        """A client's way to it."""
        member = member or self.network.clients[0]
        made = client or member.client
        assert made is not None
        return ClientDHT(member.reactor, made, rng=member.rng(), wall_clock=member.wall_clock)

    def item(self, sequence: int, value: bytes = b"value", salt: bytes = b"", owner: SigningKey = OWNER) -> Item:
        """One version of the owner's item."""
        expires = int(self.network.pool.wall_clock()) + 7200
        return Item.make(owner, owner.public, salt, sequence, expires, value)

    def participant(self, node: NodeMember) -> Participant:
        """A node's part."""
        assert node.dht is not None and node.dht._walks is not None
        return node.dht._walks.participant

    def status(self, node: NodeMember) -> NodeDHTStatus:
        """What it says of itself."""
        assert node.dht is not None
        status = node.dht.status()
        assert status is not None
        return status

    def bring(self, node: NodeMember, item: Item) -> None:
        """Have one node keep *item*, as if somebody had asked it to who reaches nobody else."""
        self.participant(node).answer(Put(item).encode(), b"somebody")

    def kept(self) -> list[list[int]]:
        """For each node, the sequences of what it keeps."""
        return [[item.sequence for item in self.participant(node).storage] for node in self.network.nodes if node.alive]

    def knows(self, node: NodeMember) -> set[bytes]:
        """Who is in a node's table."""
        return {contact.node_id for contact in self.participant(node).contacts}

    def others(self, node: NodeMember) -> set[bytes]:
        """Who should be."""
        return {one.node_id.raw for one in self.network.nodes if one is not node and one.alive}

    def assertAllKnown(self) -> None:
        """Each has all others in its table, and nobody else."""
        for node in self.network.nodes:
            if node.alive:
                self.assertEqual(self.knows(node), self.others(node), node.name)


class ClientTests(DHTTestCase):
    """Put and get."""

    def test_put_and_get(self) -> None:
        """What one client puts another finds; all six keep it."""
        here = self.dht()
        self.network.success(self.network.add_client())
        there = self.dht(self.network.clients[1])
        item = self.item(1)
        self.assertEqual(self.network.success(here.put(item)), 6)
        self.assertEqual(self.network.success(there.get(item.target)), item)
        self.assertEqual(self.network.success(there.get(item.target, newest=True)), item)

    def test_nothing(self) -> None:
        """What nobody has put is not found."""
        self.assertIsNone(self.network.success(self.dht().get(b"t" * 32)))
        self.assertIsNone(self.network.success(self.dht().get(b"t" * 32, newest=True)))

    def test_what_is_not_kept(self) -> None:
        """A newer one takes the place of an older one, and nothing else does."""
        dht = self.dht()
        self.assertEqual(self.network.success(dht.put(self.item(5))), 6)
        self.assertEqual(self.network.success(dht.put(self.item(4))), 0)
        self.assertEqual(self.network.success(dht.put(self.item(5, b"other"))), 0)
        self.assertEqual(self.network.success(dht.put(self.item(5))), 6)
        forged = attrs.evolve(self.item(6), value=b"forged")
        self.assertEqual(self.network.success(dht.put(forged)), 0)
        self.assertEqual(self.network.success(dht.put(self.item(6))), 6)
        self.assertEqual(self.kept(), [[6]] * 6)

    def test_the_newest_of_all(self) -> None:
        """One holder of six has it: who wants the newest gets it, and after that all have it."""
        self.network.success(self.dht().put(self.item(1)))
        self.bring(self.network.nodes[4], self.item(2))
        found = self.network.success(self.dht().get(self.item(1).target, newest=True))
        assert found is not None
        self.assertEqual(found.sequence, 2)
        self.network.advance(1)
        self.assertEqual(self.kept(), [[2]] * 6)

    def test_a_rollback(self) -> None:
        """All holders say something older than what this client has seen: for it there is nothing (SECURITY K5)."""
        dht = self.dht()
        target = self.item(2).target
        self.network.success(dht.put(self.item(2)))
        for node in self.network.nodes:
            self.participant(node).storage._drop(target)
            self.bring(node, self.item(1))
        self.assertIsNone(self.network.success(dht.get(target)))
        self.assertIsNone(self.network.success(dht.get(target, newest=True)))
        # Who has seen nothing yet cannot know.
        found = self.network.success(self.dht().get(target))
        assert found is not None
        self.assertEqual(found.sequence, 1)
        # What is as new as before, or newer, counts.
        self.network.success(dht.put(self.item(3)))
        found = self.network.success(dht.get(target))
        assert found is not None
        self.assertEqual(found.sequence, 3)

    def test_a_rollback_after_a_get(self) -> None:
        """What was seen in a walk counts as what was put."""
        self.network.success(self.dht().put(self.item(2)))
        reader, target = self.dht(), self.item(2).target
        self.assertIsNotNone(self.network.success(reader.get(target, newest=True)))
        for node in self.network.nodes:
            self.participant(node).storage._drop(target)
            self.bring(node, self.item(1))
        self.assertIsNone(self.network.success(reader.get(target)))

    def test_holders_that_differ(self) -> None:
        """A holder that was rolled back hides nothing from a reader that asks the others too."""
        dht = self.dht()
        target = self.item(2).target
        self.network.success(dht.put(self.item(2)))
        for node in self.network.nodes[:5]:
            self.participant(node).storage._drop(target)
            self.bring(node, self.item(1))
        found = self.network.success(dht.get(target))
        assert found is not None
        self.assertEqual(found.sequence, 2)

    def test_without_participants(self) -> None:
        """Nobody keeps it, nobody can say whether there is one, and that is said at once."""
        self.begin(LocalNetwork(nodes=4))
        dht = self.dht()
        self.assertEqual(len(self.network.client.participants), 0)
        self.assertEqual(self.successResultOf(dht.put(self.item(1))), 0)
        self.failureResultOf(dht.get(self.item(1).target), CircuitError)

    def test_nobody_answers(self) -> None:
        """That is no answer, and who was cut off must not take it for one."""
        dht = self.dht()
        self.network.partition(self.network.clients[0])
        for newest in (False, True):
            with self.assertRaises(CircuitError):
                self.network.success(dht.get(b"t" * 32, newest=newest))
        self.network.heal()
        self.network.advance(60)
        self.assertIsNone(self.network.success(dht.get(b"t" * 32)))

    def test_closed(self) -> None:
        """What is under way comes to nothing, and who asks is told why."""
        dht = self.dht()
        putting, getting = dht.put(self.item(1)), dht.get(b"t" * 32)
        dht.close()
        self.assertEqual(self.successResultOf(putting), 0)
        for asked in (getting, dht.get(b"t" * 32), dht.put(self.item(1))):
            self.assertIn("closed", str(self.failureResultOf(asked, CircuitError).value))

    def test_the_client_is_closed(self) -> None:
        """In the middle of it."""
        dht = self.dht()
        putting, getting = dht.put(self.item(1)), dht.get(b"t" * 32)
        self.network.success(self.network.client.close())
        self.assertEqual(self.network.success(putting), 0)
        self.failureResultOf(getting, CircuitError)
        self.failureResultOf(dht.get(b"t" * 32), CircuitError)

    def test_cancel(self) -> None:
        """Who does not want it any more is not told; the walk ends by itself."""
        getting = self.dht().get(b"t" * 32)
        getting.cancel()
        self.failureResultOf(getting)
        self.network.advance(10)


@attrs.define(eq=False)
class Watched:
    """A client whose circuits to single nodes are written down."""

    client: Client
    circuits: list[Circuit] = attrs.field(factory=list)

    @property
    def participants(self) -> Participants:
        """The client's."""
        return self.client.participants

    def circuit_to(self, node_id: NodeId) -> Deferred[Circuit]:
        """The client's."""
        return self.client.circuit_to(node_id).addCallback(self._built)

    def _built(self, circuit: Circuit) -> Circuit:
        self.circuits.append(circuit)
        return circuit


class PrivacyTests(DHTTestCase):
    """What others learn of who asks (SECURITY K7)."""

    def test_through_circuits_only(self) -> None:
        """Whatever a client does, it talks to its guard and the pool; only for its guard itself it takes the next."""
        seen: set[frozenset[str]] = set()

        def tap(source: str, target: str, data: bytes) -> bytes:
            seen.add(frozenset((source, target)))
            return data

        self.network.internet.tap = tap
        watched = Watched(self.network.client)
        dht = self.dht(client=watched)
        self.network.success(dht.put(self.item(1)))
        self.network.success(dht.get(self.item(1).target, newest=True))
        self.network.success(dht.get(b"t" * 32))
        self.network.advance(30)
        mine = self.network.clients[0].ip
        others = {ip for pair in seen if mine in pair for ip in pair} - {mine}
        (guard,) = [one.node_id for one in self.network.nodes if one.name == self.first_guard]
        first = {circuit.path[0].node_id for circuit in watched.circuits if circuit.path[-1].node_id != guard}
        instead = {circuit.path[0].node_id for circuit in watched.circuits if circuit.path[-1].node_id == guard}
        self.assertEqual((first, len(instead)), ({guard}, 1))
        self.assertEqual(others, {self.network.pool.ip, *(self.ip(one) for one in first | instead)})

    def setUp(self) -> None:
        super().setUp()
        self.first_guard = self.network.client.status().guard

    def ip(self, node_id: NodeId) -> str:
        """Where a node is."""
        return next(one.ip for one in self.network.nodes if one.node_id == node_id)

    def test_all_hops(self) -> None:
        """A question goes through as many nodes as anything else of the client."""
        watched = Watched(self.network.client)
        self.network.success(self.dht(client=watched).put(self.item(1)))
        self.assertEqual({len(circuit.path) for circuit in watched.circuits}, {3})
        self.assertEqual({circuit.path[-1].node_id.raw for circuit in watched.circuits}, self.everybody())

    def everybody(self) -> set[bytes]:
        """The ids of all nodes."""
        return {node.node_id.raw for node in self.network.nodes}

    def test_walks_share_no_circuit(self) -> None:
        """Neither at one time nor one after the other: who keeps two items cannot tell that one client wants both."""
        watched = Watched(self.network.client)
        dht = self.dht(client=watched)
        self.network.success(gatherResults([dht.put(self.item(1)), dht.put(self.item(1, salt=b"two"))]))
        self.assertEqual(len(watched.circuits), 12)
        self.network.success(dht.get(self.item(1).target, newest=True))
        self.assertEqual(len(watched.circuits), 18)
        # Of one walk each node has one circuit, for all that it is asked.
        for walk in (watched.circuits[12:],):
            self.assertEqual({circuit.path[-1].node_id.raw for circuit in walk}, self.everybody())
        self.assertEqual(len({id(circuit) for circuit in watched.circuits}), 18)

    def test_nothing_is_left_open(self) -> None:
        """A few seconds later all circuits of a walk are gone, at the client and at the nodes."""
        watched = Watched(self.network.client)
        self.network.success(self.dht(client=watched).put(self.item(1)))
        self.network.advance(6)
        self.assertEqual([circuit.is_open for circuit in watched.circuits], [False] * 6)


class OnTheWayTests(DHTTestCase):
    """A node in the middle of circuits dies while a lookup is under way."""

    def setUp(self) -> None:
        super(DHTTestCase, self).setUp()
        self.begin(LocalNetwork(nodes=6, dht=True, latency=0.05))
        self.watched = Watched(self.network.client)
        self.there = self.dht(client=self.watched)

    def begun(self) -> tuple[NodeMember, NodeMember]:
        """A circuit was just built, and the question is on its way: the nodes in its middle and at its end."""
        while not self.watched.circuits:
            self.network.advance(0.01)
        self.started = self.network.reactor.seconds()
        _, middle, last = (hop.node_id for hop in self.watched.circuits[0].path)
        of = {node.node_id: node for node in self.network.nodes}
        return of[middle], of[last]

    def taken(self) -> float:
        """Seconds since then."""
        return self.network.reactor.seconds() - self.started

    def test_put(self) -> None:
        """All who live keep it: none counts as one that failed because another one died."""
        putting = self.there.put(self.item(1))
        middle, _ = self.begun()
        self.network.kill(middle)
        self.assertEqual(self.network.success(putting), 5)
        self.assertLess(self.taken(), ANSWER)

    def test_the_only_one_that_has_it(self) -> None:
        """Its answer was to come through the one that died; it is asked again, in the time that it had."""
        for node in self.network.nodes:
            self.bring(node, self.item(1))
        getting = self.there.get(self.item(1).target, newest=True)
        middle, last = self.begun()
        self.bring(last, self.item(2))
        self.network.kill(middle)
        found = self.network.success(getting)
        assert found is not None
        self.assertEqual(found.sequence, 2)
        self.assertLess(self.taken(), ANSWER)

    def test_one_that_falls_silent(self) -> None:
        """Nobody hears that it is gone: what went through it is late, and the lookup ends in its time all the same."""
        for node in self.network.nodes:
            self.bring(node, self.item(1))
        getting = self.there.get(self.item(1).target, newest=True)
        middle, _ = self.begun()
        self.network.kill(middle, silently=True)
        self.assertIsNotNone(self.network.success(getting))
        self.assertLess(self.taken(), ANSWER + 1)
        # Until its circuits at others are found dead as well.
        self.network.advance(120)


class NodeTests(DHTTestCase):
    """Nodes among themselves."""

    def test_nodes_know_each_other(self) -> None:
        """Each has all others in its table."""
        for node in self.network.nodes:
            status = self.status(node)
            self.assertEqual((status.dht_nodes, status.dht_contacts), (6, 5), node.name)
        self.assertAllKnown()

    def test_status(self) -> None:
        """What it keeps and how much it was asked."""
        before = self.status(self.network.nodes[0])
        self.assertEqual((before.dht_items, before.dht_bytes), (0, 0))
        item = self.item(1)
        self.network.success(self.dht().put(item))
        after = self.status(self.network.nodes[0])
        self.assertEqual((after.dht_items, after.dht_bytes), (1, item.size))
        # One FIND and one PUT.
        self.assertEqual(after.dht_questions, before.dht_questions + 2)

    def test_no_circuits_stay_open(self) -> None:
        """When they have looked around, nodes leave each other alone."""
        self.network.advance(10)
        circuits = [router_of(node).status().circuits for node in self.network.nodes]
        self.network.success(self.network.client.close())
        self.network.advance(1)
        self.assertEqual([router_of(node).status().circuits for node in self.network.nodes], [0] * 6, circuits)

    def test_one_that_joins_later(self) -> None:
        """All come to know it, and it all others."""
        network = LocalNetwork(nodes=6, dht=True)
        newcomer = network.nodes[5]
        newcomer.takes_part = False
        self.begin(network)
        self.assertEqual([len(self.knows(node)) for node in network.nodes[:5]], [4] * 5)
        self.assertEqual(len(network.client.participants), 5)
        newcomer.takes_part = True
        network.restart(newcomer)
        network.settle()
        network.advance(70)
        self.assertAllKnown()
        self.assertEqual(self.network.success(self.dht().put(self.item(1))), 6)

    def test_a_dead_one(self) -> None:
        """Without it things go on at once; after some minutes nobody has it in the table, and no question hangs."""
        dead = self.network.nodes[0]
        self.network.success(self.dht().put(self.item(1)))
        self.network.kill(dead)
        dht = self.dht()
        started = self.network.reactor.seconds()
        self.assertIsNotNone(self.network.success(dht.get(self.item(1).target)))
        self.assertLess(self.network.reactor.seconds() - started, 1.0)
        self.assertEqual(self.network.success(dht.put(self.item(2))), 5)
        self.assertLess(self.network.reactor.seconds() - started, 21.0)
        self.network.advance(60)
        for node in self.network.nodes[1:]:
            # What a look through the table would do.
            assert node.dht is not None and node.dht._walks is not None
            for _ in range(2):
                node.dht._walks.participant.nodes(b"t" * 32, lambda found: None)
                node.dht._walks.go_on()
                self.network.advance(11)
            self.assertEqual(sum(len(one._waiting) for one in node.dht._walks._questions._lines.values()), 0, node.name)
        self.assertAllKnown()

    def test_a_silent_one(self) -> None:
        """It is waited for, as a holder and in the middle of a circuit, and not for ever."""
        guard = self.network.client.status().guard
        silent = next(node for node in self.network.nodes if node.name != guard)
        self.network.kill(silent, silently=True)
        started = self.network.reactor.seconds()
        self.assertIn(self.network.success(self.dht().put(self.item(1))), range(1, 6))
        self.assertLess(self.network.reactor.seconds() - started, 2 * ANSWER + 1)

    def test_it_starts_again(self) -> None:
        """A new process with the same identity finds the others, and they find it."""
        node = self.network.nodes[2]
        self.network.restart(node)
        self.network.settle()
        self.network.advance(70)
        self.assertAllKnown()

    def test_stop_and_start_in_one_process(self) -> None:
        """As twistd's services may be: it begins anew, keeps nothing of before, and leaves nothing running between."""
        node = self.network.nodes[2]
        self.network.success(self.dht().put(self.item(1)))
        assert node.service is not None and node.dht is not None
        self.network.success(node.stop())
        self.assertIsNone(node.dht.status())
        self.assertEqual(node.reactor.getDelayedCalls(), [])
        node.service.startService()
        self.network.advance(40)
        status = self.status(node)
        self.assertEqual((status.dht_nodes, status.dht_contacts, status.dht_items), (6, 5, 0))
        self.assertAllKnown()
        self.assertEqual(self.network.success(self.dht().put(self.item(2))), 6)

    def test_the_network_stops_in_the_middle(self) -> None:
        """A node that is stopped while it looks around."""
        for node in self.network.nodes:
            assert node.dht is not None and node.dht._walks is not None
            node.dht._walks.participant.nodes(b"t" * 32, lambda found: None)
            node.dht._walks.go_on()
        for node in self.network.nodes:
            self.network.success(node.stop())
            self.assertEqual(node.reactor.getDelayedCalls(), [], node.name)


class PartitionTests(DHTTestCase):
    """Networks that fall apart, and become one again."""

    def upkeep(self, times: int = 1) -> None:
        """So many looks of each node at what is to be done, each a minute's, without the minutes that would cost."""
        for _ in range(times):
            for node in self.network.nodes:
                assert node.dht is not None and node.dht._upkeep is not None
                node.dht._upkeep.reset(0.1)
            self.network.advance(ANSWER + 1)

    def an_hour_later(self) -> None:
        """What each node would say again by now is due, without the hour that would cost."""
        for node in self.network.nodes:
            for kept in self.participant(node).storage._kept.values():
                kept.brought_at -= REPUBLISH
                kept.told_at -= REPUBLISH

    def test_one_that_was_cut_off(self) -> None:
        """It knows, and when it is back it says at once what it alone has; nobody waits for an hour."""
        node = self.network.nodes[1]
        self.network.success(self.dht().put(self.item(1)))
        self.network.partition(node)
        self.bring(node, self.item(2))
        self.upkeep(CUT_OFF + 2)
        self.assertEqual(self.kept(), [[1], [2], [1], [1], [1], [1]])
        self.network.heal()
        self.upkeep(4)
        self.assertEqual(self.kept(), [[2]] * 6)
        self.assertAllKnown()

    def test_two_halves(self) -> None:
        """They find each other again, and the newest is everywhere when things are said the next time."""
        second = self.network.nodes[3:]
        self.network.success(self.dht().put(self.item(1)))
        # The pool and the client are with the first.
        self.network.partition(*second)
        for node in second:
            self.bring(node, self.item(2))
        self.upkeep(9)
        self.network.heal()
        self.upkeep(9)
        self.an_hour_later()
        self.upkeep(2)
        self.assertEqual(self.kept(), [[2]] * 6)
        self.assertAllKnown()

    def test_what_it_missed(self) -> None:
        """The others have something newer: it comes to the one that was cut off when things are said the next time."""
        node = self.network.nodes[1]
        self.network.success(self.dht().put(self.item(1)))
        self.network.partition(node)
        for other in self.network.nodes:
            if other is not node:
                self.bring(other, self.item(2))
        self.upkeep(2)
        self.network.heal()
        self.upkeep(3)
        self.an_hour_later()
        self.upkeep(2)
        self.assertEqual(self.kept(), [[2]] * 6)
