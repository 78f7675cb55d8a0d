"""Tests of torpydo.node.workers.supervisor."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, listing, network, url
from tests.node.workers.doubles import FakeLaunch, FakeProcess
from torpydo.crypto import DHSecretKey, Secret
from torpydo.directory import TEST_NETWORK, ExitPolicy
from torpydo.net import FileBudget
from torpydo.node import NodeConfig
from torpydo.node.workers import Supervisor
from torpydo.node.workers.messages import (
    AcceptedKeys,
    Connection,
    Leaving,
    LogLine,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Stop,
)
from torpydo.node.workers.supervisor import MAX_QUEUED, SILENT_LOOKS, STOP_TIME
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import Address

HERE = Address(bytes([20, 1, 1, 1]), 6000)


class SupervisorTestCase(SynchronousTestCase):
    """A supervisor whose processes are doubles."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.launch = FakeLaunch()
        self.keys = [DHSecretKey(Secret(bytes([7]) * 32))]
        self.listing = listing(documents=[document(1)])
        self.config = NodeConfig(
            endpoint=TCP4ServerEndpoint(self.reactor, 6000),
            listen="tcp:6000",
            pools=(url(),),
            state_dir=None,
            exit_policy=ExitPolicy.parse("accept *:80"),
            workers=2,
        )
        self.supervisor = Supervisor(
            self.reactor,
            self.config,
            key("node"),
            onion_keys=lambda: self.keys,
            listings=lambda: {url(): self.listing},
            wall_clock=lambda: float(NOW),
            launch=self.launch,
        )

    def start(self) -> list[FakeProcess]:
        """Start, and let both workers report."""
        self.supervisor.start()
        self.addCleanup(self.stop)
        for process in self.launch.started:
            process.reports()
        return list(self.launch.started)

    def stop(self) -> None:
        """Stop it, unless that is done."""
        for process in list(self.launch.alive.values()):
            process.end("exit status 0")
        self.supervisor.stop()
        self.reactor.flush()

    def hand(self) -> int:
        """Somebody connects."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.supervisor.hand(descriptor, 2)
        return descriptor

    def is_open(self, descriptor: int) -> bool:
        """Whether the descriptor still is one."""
        try:
            os.fstat(descriptor)
        except OSError:
            return False
        os.close(descriptor)
        return True

    def network_changed(self) -> None:
        """The listing is a new one."""
        self.supervisor.network_changed(network([document(1)]))


class KnowledgeTests(SupervisorTestCase):
    """What workers are told."""

    def test_setup(self) -> None:
        """The first message has what the operator chose, the identity, and a share of the memory."""
        for process in self.start():
            (setup,) = process.heard(Setup)
            self.assertIs(process.said[0], setup)
            self.assertEqual(setup.identity, bytes(key("node").seed))
            self.assertEqual((setup.exit_policy, setup.pools), ("accept *:80", (str(url()),)))
            self.assertEqual((setup.allow_single_hop, setup.aegis), (False, True))
            self.assertEqual(setup.limits, (f"links-pending={256 // 2}", f"memory={(256 << 20) // 2}"))

    def test_secrets(self) -> None:
        """No key is in what would be seen in a traceback or a log."""
        self.start()
        seed = bytes(key("node").seed)
        for shown in (self.supervisor, *self.supervisor._workers.values()):
            for secret in (seed, bytes([7]) * 32):
                for form in (repr(secret)[2:-1], secret.hex()):
                    self.assertNotIn(form, repr(shown))

    def test_keys(self) -> None:
        """New onion keys reach all workers, the same ones are not repeated."""
        processes = self.start()
        self.supervisor.keys_changed()
        self.keys.insert(0, DHSecretKey(Secret(bytes([8]) * 32)))
        self.supervisor.keys_changed()
        for process in processes:
            expected = [AcceptedKeys((bytes([7]) * 32,)), AcceptedKeys((bytes([8]) * 32, bytes([7]) * 32))]
            self.assertEqual(process.heard(AcceptedKeys), expected)

    def test_network(self) -> None:
        """The listings go before the word that they have changed; the same listing is not sent twice."""
        processes = self.start()
        self.network_changed()
        self.network_changed()
        for process in processes:
            self.assertEqual(process.said[-3:-1], [PoolListing.of(url(), self.listing), NetworkChanged(float(NOW))])
            self.assertIsInstance(process.said[-1], NetworkChanged)

    def test_addresses(self) -> None:
        """Where the node is reached they all hear, before they start or after; only the last word counts."""
        other = Address(bytes([20, 1, 1, 2]), 6000)
        first, second = (OwnAddresses(tuple((one.ip, one.port) for one in own)) for own in ([HERE], [HERE, other]))
        self.supervisor.set_own([HERE])
        for process in self.start():
            self.supervisor.set_own([HERE, other])
            self.assertEqual(process.heard(OwnAddresses), [first, second])
        again = self.launch.alive[1]
        again.end("exit status 1")
        self.reactor.advance(1.0)
        self.assertEqual(self.launch.alive[1].heard(OwnAddresses), [second])

    def test_later_worker(self) -> None:
        """A worker that was started again hears all that the others know, and nothing twice."""
        first, _ = self.start()
        self.supervisor.set_own([HERE])
        self.network_changed()
        self.keys.insert(0, DHSecretKey(Secret(bytes([8]) * 32)))
        self.supervisor.keys_changed()
        self.listing = listing(documents=[document(1), document(2)], sequence=NOW * 1000 + 1)
        self.network_changed()
        first.end("exit status 1")
        self.reactor.advance(1.0)
        again = self.launch.alive[1]
        self.assertIsNot(again, first)
        kinds = [type(message) for message in again.said]
        self.assertEqual((kinds[0], kinds[-1]), (Setup, NetworkChanged))
        self.assertEqual(sorted(kind.__name__ for kind in kinds), sorted(set(kind.__name__ for kind in kinds)))
        self.assertEqual(again.heard(PoolListing), [PoolListing.of(url(), self.listing)])
        self.assertEqual(len(again.heard(AcceptedKeys)[0].keys), 2)


class ConnectionTests(SupervisorTestCase):
    """Connections and who gets them."""

    def test_even(self) -> None:
        """Sixteen connections are eight for each of two workers, each with its descriptor."""
        processes = self.start()
        descriptors = [self.hand() for _ in range(16)]
        for process in processes:
            self.assertEqual(process.heard(Connection), [Connection(2)] * 8)
        self.assertEqual(sorted(processes[0].descriptors + processes[1].descriptors), sorted(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)

    def test_reports_count(self) -> None:
        """Whoever reports that connections are closed gets the next ones."""
        first, second = self.start()
        for descriptor in [self.hand() for _ in range(4)]:
            os.close(descriptor)
        second.reports(taken=2, still_open=0)
        self.addCleanup(os.close, self.hand())
        self.assertEqual((len(first.descriptors), len(second.descriptors)), (2, 3))

    def test_leaving(self) -> None:
        """A worker that says that it ends gets no more, however long it takes; its successor does."""
        first, second = self.start()
        first.says(Leaving())
        for _ in range(4):
            self.addCleanup(os.close, self.hand())
        self.assertEqual((len(first.descriptors), len(second.descriptors)), (0, 4))
        first.end("exit status 0")
        self.reactor.advance(1.0)
        self.launch.alive[1].reports()
        self.addCleanup(os.close, self.hand())
        self.assertEqual(len(self.launch.alive[1].descriptors), 1)

    def test_deaf(self) -> None:
        """Nor does one that cannot hear of them."""
        first, second = self.start()
        first.owner.deaf()
        for _ in range(4):
            self.addCleanup(os.close, self.hand())
        self.assertEqual((len(first.descriptors), len(second.descriptors)), (0, 4))

    def test_given_up(self) -> None:
        """A connection that could not be sent is not counted for ever."""
        first, second = self.start()
        for _ in range(4):
            self.addCleanup(os.close, self.hand())
        second.owner.given_up()
        second.owner.given_up()
        for _ in range(2):
            self.addCleanup(os.close, self.hand())
        self.assertEqual((len(first.descriptors), len(second.descriptors)), (2, 4))

    def test_nobody_there(self) -> None:
        """While no worker runs connections are closed at once."""
        for process in self.start():
            process.end("exit status 1")
        self.assertFalse(self.is_open(self.hand()))

    def test_stopping(self) -> None:
        """A worker that was told to stop gets no connections any more."""
        processes = self.start()
        self.supervisor.stop()
        self.assertFalse(self.is_open(self.hand()))
        self.assertEqual([process.heard(Connection) for process in processes], [[], []])


class RestartTests(SupervisorTestCase):
    """Workers that end."""

    def test_again_after_a_second(self) -> None:
        """It is started again after a second; the other one is not touched."""
        first, second = self.start()
        first.end("ended by SIGKILL")
        self.reactor.advance(0.9)
        self.assertEqual(self.launch.alive, {2: second})
        self.reactor.advance(0.1)
        self.assertEqual(sorted(self.launch.alive), [1, 2])
        self.assertEqual(second.heard(Stop), [])

    def test_less_and_less_often(self) -> None:
        """One that always ends at once is started less and less often, at last once a minute."""
        self.start()
        starts = []
        while len(starts) < 8:
            if 1 in self.launch.alive:
                starts.append(self.reactor.seconds())
                self.launch.alive[1].end("exit status 1")
            self.reactor.advance(0.5)
            self.launch.alive[2].reports()
        pauses = [after - before for before, after in zip(starts, starts[1:], strict=False)]
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 60])

    def test_said_once(self) -> None:
        """The log has one line for it, with what the system says of the end."""
        first, _ = self.start()
        with capturedLogs() as logs:
            first.end("exit status 3")
            self.reactor.advance(5.0)
        (event,) = logs
        self.assertEqual(event["log_level"], LogLevel.error)
        self.assertEqual(formatEvent(event), "worker 1 has ended and is started again in 1 s: exit status 3")

    def test_back(self) -> None:
        """So it has when the worker that was started again is ready, and not at the start of the node."""
        with capturedLogs() as logs:
            first, _ = self.start()
        self.assertEqual(logs, [])
        first.end("exit status 3")
        self.reactor.advance(1.0)
        with capturedLogs() as logs:
            self.launch.alive[1].reports()
            self.launch.alive[1].reports()
        self.assertEqual([formatEvent(event) for event in logs], ["worker 1 is back"])

    def test_cannot_be_started(self) -> None:
        """A process that the system does not give is tried again like one that ends."""
        self.launch.broken = OSError(11, "Resource temporarily unavailable")
        with capturedLogs() as logs:
            self.supervisor.start()
            self.addCleanup(self.stop)
        self.assertIn("could not be started: Resource temporarily unavailable", str(formatEvent(logs[0])))
        self.launch.broken = None
        self.reactor.advance(1.0)
        self.assertEqual(sorted(self.launch.alive), [1, 2])

    def test_silent(self) -> None:
        """A worker that says nothing any more is killed, and started again."""
        first, second = self.start()
        with capturedLogs() as logs:
            for _ in range(SILENT_LOOKS):
                self.assertEqual(first.killed, 0)
                self.reactor.advance(1.0)
                second.reports()
        self.assertEqual((first.killed, second.killed), (1, 0))
        self.assertIn("says nothing any more", str(formatEvent(logs[0])))

    def test_looks_go_on(self) -> None:
        """If one look fails, the next ones come all the same."""
        first, second = self.start()
        first.immortal = True
        self.reactor.advance(SILENT_LOOKS)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(second.killed, 0)
        self.reactor.advance(1.0)
        self.assertEqual(second.killed, 1)

    def test_does_not_read(self) -> None:
        """A worker that leaves too much unread is killed, however much it says."""
        first, _ = self.start()
        first.queued = MAX_QUEUED + 1
        self.supervisor.set_own([HERE])
        self.assertEqual(first.killed, 1)

    def test_nonsense(self) -> None:
        """A worker that says what nobody understands is killed."""
        first, _ = self.start()
        first.owner.received(bytes([0, 0, 0, 1, 0xC1]))
        self.assertEqual(first.killed, 1)


class StopTests(SupervisorTestCase):
    """The end of the node."""

    def test_all_end(self) -> None:
        """All are told to stop, and the node is stopped when all have ended; none is started again."""
        first, second = self.start()
        stopped = self.supervisor.stop()
        self.assertEqual((first.said[-1], second.said[-1]), (Stop(), Stop()))
        first.end("exit status 0")
        self.assertNoResult(stopped)
        second.end("exit status 0")
        self.assertIsNone(self.successResultOf(stopped))
        self.reactor.advance(60.0)
        self.assertEqual(len(self.launch.started), 2)

    def test_within_five_seconds(self) -> None:
        """One that does not end is killed in time."""
        first, second = self.start()
        stopped = self.supervisor.stop()
        second.end("exit status 0")
        self.reactor.advance(STOP_TIME)
        self.assertEqual((first.killed, second.killed), (1, 0))
        self.assertIsNone(self.successResultOf(stopped))
        self.assertLess(STOP_TIME, 5.0)

    def test_no_timer_left(self) -> None:
        """When it is over, nothing is left to be done: no look, no kill."""
        processes = self.start()
        self.supervisor.stop()
        for process in processes:
            process.end("exit status 0")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_while_one_waits(self) -> None:
        """One that is to be started again is not."""
        first, second = self.start()
        first.end("exit status 1")
        stopped = self.supervisor.stop()
        second.end("exit status 0")
        self.assertIsNone(self.successResultOf(stopped))
        self.reactor.advance(60.0)
        self.assertEqual(len(self.launch.started), 2)

    def test_quiet(self) -> None:
        """An end that was asked for is not worth a line."""
        with capturedLogs() as logs:
            processes = self.start()
            self.supervisor.stop()
            for process in processes:
                process.end("exit status 0")
        self.assertEqual(logs, [])

    def test_without_workers(self) -> None:
        """Nothing is left to wait for if none runs."""
        for process in self.start():
            process.end("exit status 1")
        self.assertIsNone(self.successResultOf(self.supervisor.stop()))
        self.reactor.advance(60.0)
        self.assertEqual(len(self.launch.started), 2)


class ReportTests(SupervisorTestCase):
    """What workers say."""

    def test_sums(self) -> None:
        """The status of the node is the sum over its workers."""
        first, second = self.start()
        first.reports(links=1, circuits=2, streams=3, queued=4)
        second.reports(links=10, circuits=20, streams=30, queued=40)
        self.assertEqual(attrs.astuple(self.supervisor.status())[:4], (11, 22, 33, 44))
        second.end("exit status 1")
        self.assertEqual(attrs.astuple(self.supervisor.status())[:4], (1, 2, 3, 4))

    def test_what_was_counted_before(self) -> None:
        """What is counted since the start of the node does not go back when a worker ends."""
        first, second = self.start()
        counts = {"received": 1, "sent": 2, "handshakes": 3, "circuits_made": 4}
        first.reports(**counts, pending=5, refused={"memory": 6})
        second.reports(**counts, pending=50, refused={"memory": 60, "links_broken": 7})
        for pending in (55, 5):
            status = self.supervisor.status()
            self.assertEqual((status.received, status.sent), (2, 4))
            self.assertEqual((status.handshakes, status.circuits_made), (6, 8))
            self.assertEqual((status.refused["memory"], status.refused["links_broken"]), (66, 7))
            self.assertEqual(status.pending, pending)
            if second.alive:
                second.end("exit status 1")
        self.reactor.advance(5.0)
        self.launch.alive[2].reports(**counts, refused={"memory": 100})
        status = self.supervisor.status()
        self.assertEqual((status.received, status.refused["memory"]), (3, 166))

    def test_file_descriptors(self) -> None:
        """Those of the process that has the fewest left."""
        first, second = self.start()
        self.assertEqual((self.supervisor.status().files, self.supervisor.status().files_most), (0, 0))
        first.reports(files=900, files_most=1000)
        second.reports(files=950, files_most=2000)
        self.assertEqual((self.supervisor.status().files, self.supervisor.status().files_most), (900, 1000))


class GateTests(SupervisorTestCase):
    """Who may connect: the supervisor takes the connections, so it counts how fast they come."""

    def connect(self, host: str, count: int) -> int:
        """So many at once; how many are taken."""
        address = IPv4Address("TCP", host, 5000)
        return sum(self.supervisor.factory.buildProtocol(address) is not None for _ in range(count))

    def test_too_fast(self) -> None:
        """The refusals are among those of the node."""
        self.start()
        self.assertEqual((self.connect("198.51.100.1", 100), self.connect("198.51.100.2", 1)), (40, 1))
        self.assertEqual(self.supervisor.status().refused["connects_too_fast"], 60)

    def test_nodes(self) -> None:
        """The hosts of listed nodes have more."""
        self.start()
        netdir = network([document(1)])
        self.supervisor.network_changed(netdir)
        (host,) = {Address(one.body.ip, 1).host for one in netdir.documents().values()}
        self.assertEqual(self.connect(host, 500), 400)

    def test_in_a_test_network(self) -> None:
        """There all come from one address."""
        self.start()
        self.supervisor.network_changed(network([document(1)], parameters={TEST_NETWORK: True}))
        self.assertEqual(self.connect("127.0.0.1", 500), 500)

    def test_file_descriptors(self) -> None:
        """Without one nobody is taken."""
        self.supervisor = attrs.evolve(self.supervisor, files=FileBudget(self.reactor.seconds, 128, lambda: 128))
        self.assertEqual(self.connect("198.51.100.1", 1), 0)
        self.assertEqual(self.supervisor.status().files_most, 128)

    def lines(self, *messages: LogLine) -> list[dict[str, Any]]:
        """What the log has of such messages."""
        first, _ = self.start()
        with capturedLogs() as logs:
            for message in messages:
                first.says(message)
        return list(logs)

    def test_log(self) -> None:
        """The log of a worker is part of the node's, under the name of whoever said it."""
        (event,) = self.lines(LogLine("warn", "torpydo.node.router.Router", "too {much}"))
        self.assertEqual((event["log_level"], event["log_namespace"]), (LogLevel.warn, "torpydo.node.router.Router"))
        self.assertEqual(formatEvent(event), "worker 1: too {much}")
