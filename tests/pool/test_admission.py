"""Tests of torpydo.pool.admission, with its roster and probes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, key, node_id
from tests.pool.build import Node, Pool, Probes
from torpydo.crypto import DHPublicKey
from torpydo.directory import HeartbeatAnswer
from torpydo.errors import StateError
from torpydo.pool import saving
from torpydo.pool.limits import PoolLimits
from torpydo.pool.refusal import PoolRefusal, Refused
from torpydo.tpdp import Address


def address(text: str, port: int = 6000) -> Address:
    """An address from an IP literal."""
    return Address(ip_address(text).packed, port)


class AdmissionTestCase(SynchronousTestCase):
    """A pool of public addresses."""

    def setUp(self) -> None:
        self.pool = Pool()

    def accept(self, node: Node, **arguments: Any) -> HeartbeatAnswer:
        return self.successResultOf(self.pool.send(node, **arguments))

    def refuse(self, node: Node, status: int, words: str, **arguments: Any) -> Refused:
        refused = self.failureResultOf(self.pool.send(node, **arguments), Refused).value
        self.assertIn(words, str(refused))
        self.assertEqual(refused.status, status)
        return refused


class ListingTests(AdmissionTestCase):
    """How a node comes to be listed."""

    def test_after_a_probe(self) -> None:
        """A node is listed when a link to the address and the identity of its descriptor has opened, not before."""
        self.pool.probes.answer = False
        node = self.pool.node()
        result = self.pool.send(node)
        self.assertNoResult(result)
        self.assertEqual(self.pool.listed(), [])
        self.pool.probes.finish_all()
        answer = self.successResultOf(result)
        self.assertEqual(answer, HeartbeatAnswer(15.0, self.pool.times.wall()))
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.assertEqual(self.pool.probes.asked, [(node.descriptor().address, node.node_id)])

    def test_unreachable(self) -> None:
        """A node to which no link opens is refused, and told what to check."""
        self.pool.probes.succeed = False
        refused = self.refuse(self.pool.node(), 422, "--advertise")
        self.assertIn("nobody answers", str(refused))
        self.assertEqual(self.pool.listed(), [])

    def test_unreachable_backs_off(self) -> None:
        """A node that was unreachable is not probed by each of its heartbeats; the reason stays the same."""
        self.pool.probes.succeed = False
        node = self.pool.node()
        self.refuse(node, 422, "nobody answers")
        refused = self.refuse(node, 422, "nobody answers")
        self.assertAlmostEqual(refused.retry_after, 15.0, places=1)
        self.assertEqual(len(self.pool.probes.asked), 1)
        self.pool.times.advance(15)
        self.refuse(node, 422, "nobody answers")
        self.assertEqual(len(self.pool.probes.asked), 2)
        self.pool.times.advance(15)
        self.refuse(node, 422, "nobody answers")
        self.assertEqual(len(self.pool.probes.asked), 2)

    def test_moved_after_failure(self) -> None:
        """A node that corrects its address is probed at once."""
        self.pool.probes.succeed = False
        self.refuse(self.pool.node(), 422, "nobody answers")
        self.pool.probes.succeed = True
        self.accept(self.pool.node(address=address("20.0.9.9"), sequence=NOW * 1000 + 1))

    def test_no_second_probe(self) -> None:
        """A heartbeat in order needs no other probe and changes nothing in the listing."""
        node = self.pool.node()
        self.accept(node)
        self.accept(node)
        self.assertEqual((len(self.pool.probes.asked), len(self.pool.changes)), (1, 1))

    def test_one_copy(self) -> None:
        """Of a descriptor that comes with every heartbeat one copy is held, and it need not be compared again."""
        node = self.pool.node()
        self.accept(node)
        [before] = self.pool.admission.listed()
        document = before.record.document
        self.accept(node)
        [after] = self.pool.admission.listed()
        self.assertGreater(after.record.heartbeat_ms, NOW * 1000 + 1)
        self.assertIs(after.record.document, document)

    def test_impatient(self) -> None:
        """A heartbeat while the node is still being probed is refused for now."""
        self.pool.probes.answer = False
        node = self.pool.node()
        first = self.pool.send(node)
        self.refuse(node, 503, "still checking")
        self.pool.probes.finish_all()
        self.successResultOf(first)

    def test_order(self) -> None:
        """Nodes are listed in the order of their ids, whoever came first."""
        for name in range(5):
            self.accept(self.pool.node(name))
        self.assertEqual(self.pool.listed(), sorted(self.pool.listed(), key=lambda node_id: node_id.raw))

    def test_stop(self) -> None:
        """Stopping ends what waits."""
        self.pool.probes.answer = False
        result = self.pool.send(self.pool.node())
        self.pool.admission.stop()
        self.failureResultOf(result, CancelledError)


class ChangeTests(AdmissionTestCase):
    """What a listed node may change."""

    def setUp(self) -> None:
        super().setUp()
        self.accept(self.pool.node())

    def document(self) -> bytes:
        return self.pool.admission.listed()[0].record.document

    def test_policy(self) -> None:
        """Another exit policy is listed at once."""
        node = self.pool.node(policy="accept *:80", sequence=NOW * 1000 + 1)
        self.accept(node)
        self.assertEqual(self.document(), node.document())
        self.assertEqual((len(self.pool.probes.asked), len(self.pool.changes)), (1, 2))

    def test_address_and_key(self) -> None:
        """Another address or onion key is listed after another probe; until then the old one is."""
        self.pool.probes.answer = False
        changes: list[dict[str, Any]] = [
            {"address": address("20.0.9.9")},
            {"address": address("20.0.9.9", 6001)},
            {"address": address("20.0.9.9", 6001), "onion_keys": (DHPublicKey(bytes([8]) * 32),)},
        ]
        for number, change in enumerate(changes, start=1):
            before = self.document()
            node = self.pool.node(**change, sequence=NOW * 1000 + number)
            result = self.pool.send(node)
            self.assertEqual(self.document(), before)
            self.pool.probes.finish_all()
            self.successResultOf(result)
            self.assertEqual(self.document(), node.document())

    def test_moved_to_nowhere(self) -> None:
        """A node that moves to where nobody answers stays listed at the old place until that is too old."""
        before = self.document()
        self.pool.probes.succeed = False
        node = self.pool.node(address=address("20.0.9.9"), sequence=NOW * 1000 + 1)
        self.refuse(node, 422, "nobody answers")
        self.assertEqual(self.document(), before)
        self.pool.keep_alive([node], 40)
        self.assertEqual(self.pool.listed(), [])

    def test_first_seen(self) -> None:
        """A node keeps the date when it was first listed."""
        self.pool.times.advance(20)
        self.accept(self.pool.node(policy="accept *:80", sequence=NOW * 1000 + 1))
        self.assertEqual(self.pool.admission.listed()[0].record.first_seen, NOW)


class ReplayTests(AdmissionTestCase):
    """Old heartbeats and descriptors."""

    def test_malformed(self) -> None:
        """What is no heartbeat, or is for another pool, is refused."""
        for data in (b"", b"x" * 200, Node(self.pool.times, pool=key("other")).heartbeat()):
            refused = self.failureResultOf(self.pool.admission.heartbeat(data), Refused).value
            self.assertEqual(refused.status, 400)

    def test_clock_off(self) -> None:
        """A clock that is more than 5 minutes off is refused with the difference."""
        for seconds, words in ((-301, "-301 s"), (301, "+301 s")):
            time_ms = int(self.pool.times.wall() + seconds) * 1000
            self.refuse(self.pool.node(), 400, words, time_ms=time_ms)

    def test_replay(self) -> None:
        """The same heartbeat again, and an earlier one, are refused."""
        node = self.pool.node()
        self.accept(node, time_ms=NOW * 1000 + 10)
        self.refuse(node, 409, "not later", time_ms=NOW * 1000 + 10)
        self.refuse(node, 409, "not later", time_ms=NOW * 1000 + 9)
        self.accept(node, time_ms=NOW * 1000 + 11)

    def test_replay_of_a_stranger(self) -> None:
        """A heartbeat of a node that was never listed is not taken twice either."""
        self.pool.probes.succeed = False
        node = self.pool.node()
        self.refuse(node, 422, "nobody answers", time_ms=NOW * 1000 + 10)
        self.refuse(node, 409, "not later", time_ms=NOW * 1000 + 10)

    def test_older_descriptor(self) -> None:
        """A descriptor with a lower sequence is refused."""
        self.accept(self.pool.node(sequence=NOW * 1000 + 1))
        self.refuse(self.pool.node(), 409, "older")

    def test_same_sequence(self) -> None:
        """Another descriptor with the same sequence is refused."""
        self.accept(self.pool.node())
        self.refuse(self.pool.node(nickname="other"), 409, "same sequence")

    def test_overtaken_while_the_probe_runs(self) -> None:
        """What was taken meanwhile for the old address is not set back."""
        self.accept(self.pool.node(), time_ms=NOW * 1000 + 10)
        self.pool.probes.answer = False
        moved = self.pool.node(address=address("20.9.9.9"), sequence=NOW * 1000 + 1)
        result = self.pool.send(moved, time_ms=NOW * 1000 + 11)
        self.assertNoResult(result)
        self.accept(self.pool.node(sequence=NOW * 1000 + 2), time_ms=NOW * 1000 + 12)
        self.pool.probes.finish_all()
        self.assertEqual(self.failureResultOf(result, Refused).value.status, 409)
        [node] = self.pool.admission.listed()
        self.assertEqual((node.record.heartbeat_ms, node.descriptor.sequence), (NOW * 1000 + 12, NOW * 1000 + 2))

    def test_after_restart(self) -> None:
        """A restart does not open the door to old heartbeats."""
        node = self.pool.node()
        self.accept(node, time_ms=NOW * 1000 + 10)
        self.pool.restart()
        self.refuse(node, 409, "not later", time_ms=NOW * 1000 + 10)


class RuleTests(AdmissionTestCase):
    """Addresses and counts."""

    def test_private_addresses(self) -> None:
        """Private addresses are refused without a probe."""
        for text in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:8.8.8.8"):
            self.refuse(self.pool.node(address=address(text)), 403, "--test-network")
        self.assertEqual(self.pool.probes.asked, [])

    def test_two_on_a_host(self) -> None:
        """Two nodes may share a host, a third may not; it may when one has gone."""
        nodes = [self.pool.node(name, address=address("20.1.1.1", 6000 + name)) for name in range(3)]
        self.accept(nodes[0])
        self.accept(nodes[1])
        refused = self.refuse(nodes[2], 403, "2 other nodes")
        self.assertEqual(refused.cause, PoolRefusal.NODES_PER_HOST)
        self.pool.keep_alive(nodes[:1], 40)
        self.accept(nodes[2])

    def test_who_was_first(self) -> None:
        """A node that was away gets its place back: whoever came last gives way, and is refused from then on."""
        nodes = [self.pool.node(name, address=address("20.1.1.1", 6000 + name)) for name in range(3)]
        for node in nodes[:2]:
            self.accept(node)
            self.pool.times.advance(5)
        self.pool.keep_alive(nodes[1:2], 40)
        self.accept(nodes[2])
        self.accept(nodes[0])
        self.assertCountEqual(self.pool.listed(), [nodes[0].node_id, nodes[1].node_id])
        self.refuse(nodes[2], 403, "2 other nodes")

    def test_who_was_first_must_be_there(self) -> None:
        """Nobody gives way to a node that does not answer at the address."""
        nodes = [self.pool.node(name, address=address("20.1.1.1", 6000 + name)) for name in range(3)]
        for node in nodes[:2]:
            self.accept(node)
            self.pool.times.advance(5)
        self.pool.keep_alive(nodes[1:2], 1900)
        self.accept(nodes[2])
        self.pool.probes.succeed = False
        self.refuse(nodes[0], 422, "nobody answers")
        self.assertCountEqual(self.pool.listed(), [nodes[1].node_id, nodes[2].node_id])

    def test_other_numbers(self) -> None:
        """How many share an address is the operator's choice."""
        for most in (1, 3):
            self.pool = Pool(limits=PoolLimits(nodes_per_host=most))
            nodes = [self.pool.node(name, address=address("20.1.1.1", 6000 + name)) for name in range(most + 1)]
            for node in nodes[:-1]:
                self.accept(node)
            self.refuse(nodes[-1], 403, f"{most} other nodes")

    def test_strangers_on_one_address(self) -> None:
        """Whoever runs many nodes on one address gets two of them listed, and costs two probes and no memory.

        The third is refused before anything is kept of it, so ten thousand are no worse than these.
        """
        for name in range(300):
            node = self.pool.node(name, address=address("20.1.1.1", 1 + name))
            self.pool.send(node).addErrback(lambda failure: failure.trap(Refused))
        self.assertEqual(self.pool.listed(), sorted([node_id(0), node_id(1)], key=lambda one: one.raw))
        self.assertEqual(len(self.pool.probes.asked), 2)
        self.assertEqual(len(self.pool.saved()), 2)
        self.assertEqual(len(self.pool.admission), 2)

    def test_strangers_on_the_address_of_another(self) -> None:
        """Whoever invents nodes on the address of somebody else makes the pool knock there now and then, no more."""
        self.pool.probes.succeed = False
        for name in range(300):
            node = self.pool.node(name, address=address("20.1.1.1", 1 + name))
            self.pool.send(node).addErrback(lambda failure: failure.trap(Refused))
            self.pool.times.advance(0.5)
        self.assertLessEqual(len(self.pool.probes.asked), 6 + 0.1 * 151)
        self.assertEqual((self.pool.listed(), self.pool.saved()), ([], []))
        self.assertLessEqual(len(self.pool.admission), PoolLimits().strangers)

    def test_two_in_a_64(self) -> None:
        """Two nodes may share an IPv6 /64."""
        for name in range(2):
            self.accept(self.pool.node(name, address=address(f"2a00::{name + 1}")))
        self.refuse(self.pool.node(2, address=address("2a00::3")), 403, "2 other nodes")

    def test_two_at_a_time(self) -> None:
        """Three nodes that are probed at the same time do not slip through."""
        self.pool.probes.answer = False
        results = [self.pool.send(self.pool.node(name, address=address("20.1.1.1", name + 1))) for name in range(3)]
        self.pool.probes.finish_all()
        self.successResultOf(results[0])
        self.successResultOf(results[1])
        self.failureResultOf(results[2], Refused)
        self.assertEqual(len(self.pool.listed()), 2)

    def test_change_on_a_full_host(self) -> None:
        """A node on a full host may still change."""
        for name in range(2):
            self.accept(self.pool.node(name, address=address("20.1.1.1", 6000 + name)))
        self.accept(self.pool.node(0, address=address("20.1.1.1", 7000), sequence=NOW * 1000 + 1))

    def test_test_network(self) -> None:
        """In a test network any number of nodes shares a loopback address."""
        self.pool = Pool(test_network=True)
        for name in range(20):
            self.accept(self.pool.node(name, address=address("127.0.0.1", 6000 + name)))
        self.assertEqual(len(self.pool.listed()), 20)

    def test_full(self) -> None:
        """A full pool takes a new node only in the place of one that is not listed any more."""
        self.pool = Pool(limits=PoolLimits(nodes=2))
        nodes = [self.pool.node(name) for name in range(3)]
        self.accept(nodes[0])
        self.accept(nodes[1])
        self.refuse(nodes[2], 503, "full")
        self.pool.keep_alive(nodes[:1], 40)
        self.accept(nodes[2])
        self.assertCountEqual(self.pool.listed(), [nodes[0].node_id, nodes[2].node_id])
        self.assertEqual(len(self.pool.saved()), 2)


class LifeTests(AdmissionTestCase):
    """How a listed node stays or goes."""

    def test_silence(self) -> None:
        """A node is dropped by the first look after the deprecation delay."""
        node = self.pool.node()
        self.accept(node)
        self.pool.times.advance(30)
        self.pool.admission.collect()
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.pool.times.advance(0.1)
        self.pool.admission.collect()
        self.assertEqual(self.pool.listed(), [])
        self.assertEqual(len(self.pool.changes), 2)

    def test_wall_clock_step(self) -> None:
        """Setting the wall clock does not drop anybody."""
        node = self.pool.node()
        self.accept(node)
        self.pool.times.offset += 7200
        self.pool.admission.collect()
        self.assertEqual(self.pool.listed(), [node.node_id])

    def test_back_after_silence(self) -> None:
        """A node that comes back soon is listed again without a probe, with its old date."""
        node = self.pool.node()
        self.accept(node)
        self.pool.keep_alive([], 60)
        self.accept(node)
        self.assertEqual(len(self.pool.probes.asked), 1)
        self.assertEqual(self.pool.admission.listed()[0].record.first_seen, NOW)

    def test_probed_again(self) -> None:
        """A listed node is probed again after half an hour, and answered meanwhile."""
        node = self.pool.node()
        self.accept(node)
        self.pool.keep_alive([node], 1790)
        self.assertEqual(len(self.pool.probes.asked), 1)
        self.pool.probes.answer = False
        self.pool.keep_alive([node], 40)
        self.assertEqual(len(self.pool.probes.asked), 2)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.pool.probes.finish_all()
        self.pool.keep_alive([node], 1000)
        self.assertEqual(len(self.pool.probes.asked), 2)

    def test_one_failure_is_bad_luck(self) -> None:
        """A listed node survives one probe that fails."""
        node = self.pool.node()
        self.accept(node)
        self.pool.probes.succeed = False
        self.pool.keep_alive([node], 1820)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.pool.probes.succeed = True
        self.pool.keep_alive([node], 60)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.assertEqual(len(self.pool.probes.asked), 3)

    def test_two_failures_drop(self) -> None:
        """A listed node that cannot be reached twice is dropped, and comes back with a probe that succeeds."""
        node = self.pool.node()
        self.accept(node)
        self.pool.probes.succeed = False
        self.pool.keep_alive([node], 1900)
        self.assertEqual(self.pool.listed(), [])
        self.pool.probes.succeed = True
        self.pool.keep_alive([node], 120)
        self.assertEqual(self.pool.listed(), [node.node_id])

    def test_forgotten(self) -> None:
        """A node that was silent for a week is forgotten, on the disk too."""
        self.accept(self.pool.node())
        self.pool.keep_alive([], 60)
        self.pool.times.advance(7 * 24 * 3600)
        self.pool.admission.collect()
        self.assertEqual(self.pool.saved(), [])

    def test_unexpected_error(self) -> None:
        """An error of ours in a probe is logged and harms nobody."""
        node = self.pool.node()
        self.accept(node)
        self.pool.probes.answer = False
        self.pool.keep_alive([node], 1810)
        self.pool.probes.waiting.pop().errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.pool.listed(), [node.node_id])


class RestartTests(AdmissionTestCase):
    """What a pool remembers."""

    def test_nodes(self) -> None:
        """Nodes are listed as before, without another probe, although nobody has sent a heartbeat."""
        nodes = [self.pool.node(name) for name in range(3)]
        for node in nodes:
            self.accept(node)
        before = [node.record for node in self.pool.admission.listed()]
        self.pool.restart()
        self.assertEqual([node.record for node in self.pool.admission.listed()], before)
        self.accept(nodes[0])
        self.assertEqual(len(self.pool.probes.asked), 3)

    def test_grace(self) -> None:
        """After a restart nodes have five minutes: while the pool was down they asked less often."""
        node = self.pool.node()
        self.accept(node)
        self.pool.times.advance(600)
        self.pool.restart()
        self.pool.keep_alive([], 290)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.pool.keep_alive([], 20)
        self.assertEqual(self.pool.listed(), [])

    def test_long_ago(self) -> None:
        """After a day nobody is listed before a heartbeat."""
        self.accept(self.pool.node())
        self.pool.times.advance(24 * 3600)
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [])

    def test_dropped_stays_dropped(self) -> None:
        """A node that was dropped is not listed by a restart."""
        self.accept(self.pool.node())
        self.pool.keep_alive([], 60)
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [])

    def test_probe_is_still_due(self) -> None:
        """A restart does not put off the next probe."""
        node = self.pool.node()
        self.accept(node)
        self.pool.times.advance(1790)
        self.pool.restart()
        self.pool.keep_alive([node], 30)
        self.assertEqual(len(self.pool.probes.asked), 2)

    def test_test_network_became_public(self) -> None:
        """A pool that is no test network any more does not list the private addresses of its past."""
        self.pool = Pool(test_network=True)
        self.accept(self.pool.node(address=address("127.0.0.1")))
        self.pool.test_network = False
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [])

    def test_test_network_became_public_on_one_address(self) -> None:
        """Nor more nodes on one address than there may be: those that were listed first stay."""
        self.pool = Pool(test_network=True)
        nodes = [self.pool.node(name, address=address("20.1.1.1", 6000 + name)) for name in range(4)]
        for node in reversed(nodes):
            self.accept(node)
            self.pool.times.advance(1)
        self.pool.test_network = False
        self.pool.restart()
        self.assertCountEqual(self.pool.listed(), [nodes[3].node_id, nodes[2].node_id])

    def test_damaged_document(self) -> None:
        """A descriptor that cannot be read any more is left out."""
        self.accept(self.pool.node())
        record = self.pool.saved()[0]
        self.pool.store.write([type(record)(record.node_id, b"x", 0, 0, 0.0, 0.0, True)])
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [])

    def test_crash(self) -> None:
        """A crash loses what changed in the last moment; it costs the node one heartbeat."""
        saved, lost = self.pool.node(0), self.pool.node(1)
        self.accept(saved)
        self.pool.times.advance(1)
        self.accept(lost)
        self.pool.started = False
        self.pool.restart()
        self.assertEqual(self.pool.listed(), [saved.node_id])
        self.accept(lost)
        self.assertCountEqual(self.pool.listed(), [saved.node_id, lost.node_id])

    def test_disk_full(self) -> None:
        """A pool goes on when its disk is full, and says so once."""

        def full(nodes: object, removed: object) -> None:
            raise StateError("the disk is full")

        lines: list[str] = []
        self.patch(self.pool.store, "write", full)
        self.patch(saving.Saving, "log", type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})())
        node = self.pool.node()
        self.accept(node)
        self.pool.times.advance(1)
        self.accept(node)
        self.pool.times.advance(60)
        self.assertEqual(self.pool.listed(), [node.node_id])
        self.assertEqual(len(lines), 1)


class ProbeTests(AdmissionTestCase):
    """How many links a pool opens for strangers."""

    def test_rate(self) -> None:
        """Strangers cannot make a pool spend its time on links, from however many hosts they come."""
        self.pool = Pool(limits=PoolLimits(probes_burst=5))
        for name in range(5):
            self.accept(self.pool.node(name))
        self.refuse(self.pool.node(5), 503, "many nodes")
        self.pool.times.advance(1)
        self.accept(self.pool.node(5))

    def test_rate_of_a_test_network(self) -> None:
        """The nodes of a test network all start at once."""
        self.pool = Pool(test_network=True)
        for name in range(250):
            self.accept(self.pool.node(name, address=address("127.0.0.1", 6000 + name)))

    def test_bounded(self) -> None:
        """Some probes run at a time, some wait, the rest is put off."""
        self.pool.probes.answer = False
        results: list[Deferred[HeartbeatAnswer]] = [self.pool.send(self.pool.node(name)) for name in range(60)]
        self.assertEqual(len(self.pool.probes.asked), 16)
        for result in results[48:]:
            self.assertEqual(self.failureResultOf(result, Refused).value.status, 503)
        for _ in range(3):
            self.pool.probes.finish_all()
        self.assertEqual(len(self.pool.listed()), 48)

    def test_one_host(self) -> None:
        """One host is probed only so often, whoever asks."""
        self.pool.probes.succeed = False
        for name in range(6):
            self.refuse(self.pool.node(name, address=address("20.1.1.1", 6000 + name)), 422, "nobody answers")
        self.refuse(self.pool.node(6, address=address("20.1.1.1", 6006)), 429, "too often")
        self.pool.times.advance(10)
        self.refuse(self.pool.node(6, address=address("20.1.1.1", 6006)), 422, "nobody answers")

    def test_strangers_are_bounded(self) -> None:
        """Only so many nodes are remembered that were never listed."""
        self.pool.probes.succeed = False
        self.pool.limits = PoolLimits(strangers=10)
        self.pool.restart()
        nodes = [self.pool.node(name) for name in range(20)]
        for node in nodes:
            self.refuse(node, 422, "nobody answers", time_ms=NOW * 1000 + 10)
        self.refuse(nodes[19], 409, "not later", time_ms=NOW * 1000 + 10)
        self.refuse(nodes[0], 422, "nobody answers", time_ms=NOW * 1000 + 10)


class PoolMachine(RuleBasedStateMachine):
    """Nodes come, change, fall silent and lie; the pool restarts; the rules hold all the time."""

    names = st.integers(0, 4)

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(probes=Probes())
        self.sequences: dict[int, int] = {}
        self.reachable = True
        self.accepted: dict[int, float] = {}

    @rule(name=names, host=st.integers(1, 2), fresh=st.booleans())
    def heartbeat(self, name: int, host: int, fresh: bool) -> None:
        sequence = self.sequences.get(name, 0) + fresh
        self.sequences[name] = sequence
        node = self.pool.node(name, address=Address(bytes([20, host, 1, 1]), 6000), sequence=NOW * 1000 + 1 + sequence)
        result = self.pool.send(node)
        taken: list[object] = []
        result.addCallbacks(taken.append, lambda failure: failure.trap(Refused))
        if taken:
            self.accepted[name] = self.pool.times.clock.seconds()

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0, 2000.0]))
    def time_passes(self, seconds: float) -> None:
        self.pool.times.advance(seconds)
        self.pool.admission.collect()

    @rule()
    def network_breaks_or_heals(self) -> None:
        self.pool.probes.succeed = not self.pool.probes.succeed

    @rule(seconds=st.integers(-100, 100))
    def clock_is_set(self, seconds: int) -> None:
        self.pool.times.offset += seconds

    @rule()
    def restart(self) -> None:
        before = self.pool.listed()
        self.pool.restart()
        assert self.pool.listed() == before

    @invariant()
    def rules_hold(self) -> None:
        nodes = self.pool.admission.listed()
        hosts = [node.descriptor.address.ip for node in nodes]
        assert all(hosts.count(host) <= 2 for host in hosts)
        listed = {node.record.node_id for node in nodes}
        assert listed <= {node_id for _, node_id in self.pool.probes.asked}
        assert listed == {record.node_id for record in self.pool.saved() if record.listed}
        for node in nodes:
            assert (node.descriptor.address, node.record.node_id) in self.pool.probes.asked


class MachineTests(SynchronousTestCase):
    """The rules hold whatever happens."""

    def test_any_order(self) -> None:
        """No order of events breaks a rule."""
        run_state_machine_as_test(PoolMachine)
