"""Tests of torpydo.client.circuitpool and torpydo.client.builds."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import Builder, CircuitDouble, Cycle, exits, make_paths, want
from tests.directory.build import document, network
from tests.net.pools import MemoryState
from torpydo.client.builds import LAST_BACKOFF, UsableCircuit
from torpydo.client.buildtimes import ENOUGH, LONGEST, RECENT_SLOW
from torpydo.client.circuitpool import (
    AFTER,
    MANY_FAILURES,
    SOON,
    SPARE,
    SWEEP,
    CircuitPool,
)
from torpydo.client.keeping import KeptTimes
from torpydo.client.kinds import LATELY
from torpydo.client.limits import DEFAULT_LIMITS
from torpydo.client.paths import Want
from torpydo.client.refusals import ClientRefusal
from torpydo.directory import NetDir
from torpydo.errors import CircuitBuildError, CircuitError, NoExit, TooFewNodes, TorpydoError


class PoolTestCase(SynchronousTestCase):
    """A pool whose circuits the test builds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.builder = Builder()
        self.outcomes: list[UsableCircuit | TorpydoError] = []
        self.stale = 0
        self.times = KeptTimes(None, self.clock)
        self.built: list[CircuitDouble] = []
        self.refused: list[tuple[ClientRefusal, int]] = []
        self.state = MemoryState()

    def pool(self, netdir: NetDir | None = None, **options: Any) -> CircuitPool:
        self.paths = make_paths(netdir if netdir is not None else exits(), self.clock, self.state)

        def stale() -> None:
            self.stale += 1

        made = CircuitPool(
            self.clock,
            self.paths,
            self.builder,
            Cycle(),
            self.times,
            stale=stale,
            outcome=self.outcomes.append,
            refused=lambda cause, count: self.refused.append((cause, count)),
            **options,
        )
        self.addCleanup(made.close)
        return made

    def used(self, pool: CircuitPool, wanted: Want | None = None) -> CircuitDouble:
        """A circuit that is ready now."""
        circuit = self.successResultOf(pool.use(wanted or want()))
        assert isinstance(circuit, CircuitDouble)
        return circuit

    def failing(self, deferred: Deferred[Any]) -> Deferred[Any]:
        """A deferred whose failure a test does not look at."""
        return deferred.addErrback(lambda failure: failure.trap(TorpydoError, CancelledError))


class AheadTests(PoolTestCase):
    """Circuits built before anybody asks."""

    def test_two_are_built_ahead(self) -> None:
        """As soon as there is a listing."""
        pool = self.pool()
        pool.work()
        self.assertEqual(len(self.builder.finish()), SPARE)
        self.assertEqual([one.clean for one in pool.status()], [True] * SPARE)

    def test_nothing_without_a_listing(self) -> None:
        """There is nobody to build with."""
        pool = self.pool()
        self.paths.netdir = None
        pool.work()
        self.assertEqual(self.builder.started, [])

    def test_a_used_one_is_replaced(self) -> None:
        """Two clean ones are kept beside those in use."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        self.used(pool)
        self.clock.advance(AFTER)
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), SPARE)

    def test_a_lost_one_is_replaced(self) -> None:
        """Whatever ends a circuit."""
        pool = self.pool()
        pool.work()
        self.builder.finish()[0].close()
        self.assertEqual(len(self.builder.open), 1)

    def test_the_exits_that_are_wanted(self) -> None:
        """Circuits are built for the port that streams use."""
        netdir = network(
            [document(n, policy="accept *:443") for n in range(1, 5)]
            + [document(n, policy="accept *:22") for n in range(5, 9)]
        )
        pool = self.pool(netdir)
        self.failing(pool.use(want(port=22)))
        self.builder.finish()
        clean = [one for one in self.builder.started if want(port=22).fits(one.path)]
        self.assertEqual(len(clean), SPARE + 1)

    def test_an_exit_for_anything_will_do(self) -> None:
        """A network whose exits serve one odd port only is a network."""
        pool = self.pool(exits(policy="accept *:8333"))
        pool.work()
        self.assertEqual(len(self.builder.started), SPARE)

    def test_not_for_every_port_that_was_ever_used(self) -> None:
        """The last six are kept ready, or a scan of ports would build hundreds of circuits."""
        ports = range(1001, 1013)
        pool = self.pool(network([document(port, policy=f"accept *:{port}") for port in ports]))
        for port in ports:
            self.failing(pool.use(want(port=port)))
            self.clock.advance(0.1)
        for circuit in self.builder.finish():
            circuit.close()
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), 12)

    def test_as_many_as_were_used_lately(self) -> None:
        """Five applications that came within two minutes let five more be expected; after that two are enough."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        for isolation in range(5):
            self.failing(pool.use(want(isolation=isolation)))
            self.builder.finish()
        self.clock.advance(AFTER)
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), 5)
        for isolation in range(5):
            self.used(pool, want(isolation=f"another {isolation}"))
        self.clock.advance(LATELY)
        self.builder.finish()
        self.clock.advance(AFTER)
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), SPARE)

    def test_never_more_than_the_limit_of_clean_ones(self) -> None:
        """However many applications came at once, and for however many ports."""
        ports = (22, 80, 443)
        pool = self.pool(
            network([document(10 * n + port, policy=f"accept *:{port}") for port in ports for n in range(4)])
        )
        for isolation in range(40):
            for port in ports:
                self.failing(pool.use(want(port=port, isolation=isolation)))
                self.builder.finish()
        self.clock.advance(AFTER)
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), DEFAULT_LIMITS.circuits_clean)

    def test_for_circuits_whose_time_ends(self) -> None:
        """Before ten minutes are over there is a clean one for each circuit that still has streams."""
        pool = self.pool()
        for isolation in range(5):
            self.failing(pool.use(want(isolation=isolation)))
            self.built += self.builder.finish()
        for isolation in range(5):
            self.used(pool, want(isolation=isolation)).streams = 1
        self.clock.advance(LATELY)
        for circuit in self.built:
            if not circuit.streams:
                circuit.close()
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), SPARE)
        self.clock.pump([SWEEP] * int((DEFAULT_LIMITS.circuit_dirty_life - SOON - LATELY) // SWEEP + 1))
        self.builder.finish()
        self.assertEqual(sum(one.clean for one in pool.status()), 5)

    def test_a_stream_never_waits_while_there_is_a_clean_one(self) -> None:
        """Nor do the builds that replace it begin before the stream's own bytes are on their way."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        begun = len(self.builder.started)
        self.used(pool, want(isolation="new"))
        self.assertEqual(len(self.builder.started), begun)
        self.clock.advance(AFTER)
        self.assertEqual(len(self.builder.started), begun + 1)

    def test_no_exit_at_all_is_told(self) -> None:
        """Whoever waits for the first circuit hears why there is none. Pools are asked for that less and less often."""
        pool = self.pool(exits(policy=""))
        pool.work()
        (outcome,) = self.outcomes
        assert isinstance(outcome, NoExit)
        self.assertEqual((outcome.port, self.stale), (None, 1))
        for seconds, asked in ((60, 3), (3600, 11), (3600, 17)):
            for _ in range(seconds // 15):
                self.clock.advance(15)
            self.assertEqual(self.stale, asked)

    def test_too_few_nodes_is_told(self) -> None:
        """Too: and the pools may know more by now."""
        pool = self.pool(exits(1, 2))
        pool.work()
        (outcome,) = self.outcomes
        self.assertIsInstance(outcome, TooFewNodes)
        self.assertEqual(self.stale, 1)


class IsolationTests(PoolTestCase):
    """Who shares a circuit with whom."""

    def test_same_key_shares(self) -> None:
        """Streams of one isolation key use one circuit."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        self.assertIs(self.used(pool), self.used(pool))

    def test_other_keys_never_share(self) -> None:
        """Each key has circuits of its own, also after many streams."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        owner: dict[CircuitDouble, object] = {}
        for turn in range(60):
            isolation = turn % 20
            deferred = pool.use(want(isolation=isolation))
            self.builder.finish()
            circuit = self.successResultOf(deferred)
            assert isinstance(circuit, CircuitDouble)
            self.assertEqual(owner.setdefault(circuit, isolation), isolation)
        self.assertEqual(len(set(owner.values())), 20)

    def test_a_circuit_that_is_being_built_is_for_one_key(self) -> None:
        """Two keys that wait start two builds; two streams of one key share theirs."""
        pool = self.pool()
        for isolation in ("a", "a", "b"):
            self.failing(pool.use(want(isolation=isolation)))
        self.assertEqual(len(self.builder.open), 2 + SPARE)

    def test_another_port_needs_another_exit(self) -> None:
        """A circuit is used only for what its exit allows."""
        pool = self.pool(
            network(
                [document(n, policy="accept *:443") for n in range(1, 5)]
                + [document(n, policy="accept *:22") for n in range(5, 9)]
            )
        )
        pool.work()
        self.builder.finish()
        self.assertNoResult(self.failing(pool.use(want(port=22))))

    def test_a_full_circuit_takes_no_more(self) -> None:
        """Long before the protocol's limit of streams."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        first = self.used(pool)
        first.streams = DEFAULT_LIMITS.streams_per_circuit
        self.assertIsNot(self.used(pool), first)

    def test_new_identity_retires_everything(self) -> None:
        """Clean ones are closed, used ones take no more streams and go when the last has ended."""
        pool = self.pool()
        pool.work()
        clean = self.builder.finish()
        used = self.used(pool)
        used.streams = 1
        pool.new_identity()
        self.assertEqual([one.closed for one in clean if one is not used], [True])
        self.assertFalse(used.closed)
        self.builder.finish()
        self.assertIsNot(self.used(pool), used)
        used.streams = 0
        self.clock.advance(SWEEP)
        self.assertTrue(used.closed)

    def test_new_identity_builds_anew_for_who_waits(self) -> None:
        """What was being built belongs to before; who waits gets a new one."""
        pool = self.pool()
        waiting = pool.use(want())
        before = list(self.builder.open)
        pool.new_identity()
        self.assertTrue(all(one.cancelled for one in before))
        self.builder.finish()
        self.successResultOf(waiting)


class LifeTests(PoolTestCase):
    """How long a circuit is used."""

    def test_a_dirty_one_takes_no_streams_after_its_time(self) -> None:
        """Ten minutes after the first stream the next goes elsewhere; the old ones stay."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        first = self.used(pool)
        first.streams = 1
        self.builder.finish()
        self.clock.advance(DEFAULT_LIMITS.circuit_dirty_life - 1)
        self.assertIs(self.used(pool), first)
        self.clock.advance(2)
        self.assertIsNot(self.used(pool), first)
        self.assertFalse(first.closed)

    def test_a_dirty_one_without_streams_is_closed_after_its_time(self) -> None:
        """Nothing is kept for nobody."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        first = self.used(pool)
        self.clock.pump([SWEEP] * int(DEFAULT_LIMITS.circuit_dirty_life // SWEEP - 1))
        self.assertFalse(first.closed)
        self.clock.pump([SWEEP] * 2)
        self.assertTrue(first.closed)

    def test_a_clean_one_is_closed_after_an_hour(self) -> None:
        """And replaced, because two are to be ready."""
        pool = self.pool()
        pool.work()
        first = self.builder.finish()
        self.clock.pump([SWEEP] * int(DEFAULT_LIMITS.circuit_clean_life // SWEEP - 1))
        self.assertFalse(first[0].closed)
        self.clock.pump([SWEEP] * 2)
        self.assertTrue(all(one.closed for one in first))
        self.assertEqual(len(self.builder.open), SPARE)

    def test_one_that_did_not_answer_is_avoided(self) -> None:
        """Its next stream would only wait as long."""
        pool = self.pool()
        pool.work()
        self.builder.finish()
        first = self.used(pool)
        pool.avoid(first)
        self.assertTrue(first.closed)
        self.assertIsNot(self.used(pool), first)


class WaitTests(PoolTestCase):
    """Streams that wait for a circuit."""

    def test_gets_the_circuit_that_is_built_for_it(self) -> None:
        """As soon as it is there."""
        pool = self.pool()
        waiting = pool.use(want())
        self.assertNoResult(waiting)
        self.builder.finish()
        self.successResultOf(waiting)

    def test_waits_for_a_listing(self) -> None:
        """A client that is not ready yet keeps streams waiting."""
        pool = self.pool()
        self.paths.netdir = None
        waiting = pool.use(want())
        self.paths.netdir = exits()
        pool.work()
        self.builder.finish()
        self.successResultOf(waiting)

    def test_gives_up_after_a_minute(self) -> None:
        """With an error that says so."""
        pool = self.pool()
        waiting = pool.use(want())
        self.assertEqual(self.refused, [])
        self.clock.advance(DEFAULT_LIMITS.stream_wait)
        self.failureResultOf(waiting, CircuitError)
        self.assertEqual(self.refused, [(ClientRefusal.STREAM_WAIT, 1)])

    def test_can_be_cancelled(self) -> None:
        """The circuit goes to the next one."""
        pool = self.pool()
        first, second = pool.use(want()), pool.use(want())
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.builder.finish()
        self.successResultOf(second)

    def test_no_path_is_an_error_at_once(self) -> None:
        """And the listings are asked for something newer."""
        pool = self.pool(exits(1, 2))
        self.failureResultOf(pool.use(want()), TooFewNodes)
        self.assertGreaterEqual(self.stale, 1)

    def test_no_exit_for_the_port_names_it(self) -> None:
        """The user hears which port."""
        pool = self.pool(exits(policy="accept *:443"))
        self.assertEqual(self.failureResultOf(pool.use(want(port=22)), NoExit).value.port, 22)

    def test_a_circuit_that_closes_in_between_is_not_handed_out(self) -> None:
        """What is gone is gone."""
        pool = self.pool()
        pool.work()
        for circuit in self.builder.finish():
            circuit.close()
        self.assertNoResult(self.failing(pool.use(want())))


class BackoffTests(PoolTestCase):
    """Builds that fail."""

    def test_three_failures_fail_the_stream(self) -> None:
        """With the last reason: which hop and why."""
        pool = self.pool()
        waiting = pool.use(want())
        for _ in range(3):
            for one in list(self.builder.open):
                one.fail(2, "connection refused")
            self.clock.advance(5)
        error = self.failureResultOf(waiting, CircuitBuildError).value
        self.assertEqual((error.hop, error.why), (2, "connection refused"))

    def test_others_are_not_blamed(self) -> None:
        """Failures of one key's builds do not fail the streams of another."""
        pool = self.pool()
        unlucky, other = pool.use(want(isolation="a")), self.failing(pool.use(want(isolation="b")))
        others = self.builder.started[1]
        for _ in range(3):
            for one in list(self.builder.open):
                if one is not others:
                    one.fail(2)
            self.clock.advance(5)
        self.failureResultOf(unlucky, CircuitBuildError)
        self.assertNoResult(other)

    def test_the_next_build_goes_round_the_node_that_failed(self) -> None:
        """What was learned is used at once."""
        pool = self.pool()
        pool.work()
        bad = self.builder.open[0].path[1].node_id
        before = len(self.builder.started)
        self.builder.open[0].fail(2)
        for _ in range(20):
            self.clock.advance(0.5)
            for one in list(self.builder.open):
                one.done().close()
        later = self.builder.started[before:]
        self.assertGreater(len(later), 10)
        self.assertNotIn(bad, {node.node_id for one in later[:10] for node in one.path})

    def test_pauses_grow(self) -> None:
        """A network that is down is not asked a thousand times."""
        pool = self.pool()
        pool.work()
        for _ in range(200):
            for one in list(self.builder.open):
                one.fail(2)
            self.clock.advance(1)
        self.assertLess(len(self.builder.started), 25)

    def test_trouble(self) -> None:
        """Several builds in a row and no circuit: the last reason is kept until a circuit is built."""
        pool = self.pool()
        pool.work()
        for number in range(1, MANY_FAILURES + 1):
            # Nodes come and go: one failure or two are none.
            self.assertIsNone(pool.trouble)
            for one in list(self.builder.open):
                one.fail(2, f"failure {number}")
            self.clock.advance(LAST_BACKOFF)
        self.assertIn(f"failure {MANY_FAILURES}", str(pool.trouble))
        self.builder.open[0].done().close()
        self.assertIsNone(pool.trouble)

    def test_no_trouble_with_a_circuit(self) -> None:
        """One that is open is enough for the next stream, whatever fails beside it."""
        pool = self.pool()
        for port in (80, 443):
            self.failing(pool.use(want(port=port, isolation=port)))
        circuit = self.builder.open[0].done()
        for number in range(2 * MANY_FAILURES):
            self.failing(pool.use(want(isolation=f"another {number}")))
            for one in list(self.builder.open):
                one.fail(2)
            self.clock.advance(LAST_BACKOFF)
        self.assertIsNone(pool.trouble)
        circuit.close()
        self.assertIsInstance(pool.trouble, CircuitBuildError)

    def test_failures_together_are_one(self) -> None:
        """A guard that is lost with thirty builds costs a moment, and the next one that fails not much more."""
        pool = self.pool()
        waiting = [self.failing(pool.use(want(isolation=number))) for number in range(30)]
        for _ in range(2):
            for one in list(self.builder.open):
                one.fail(1, "the link is gone")
            self.clock.advance(1.0)
        self.assertGreaterEqual(len(self.builder.open), len(waiting))

    def test_a_success_ends_the_pauses(self) -> None:
        """After it the spare circuits are built at once."""
        pool = self.pool()
        pool.work()
        for _ in range(5):
            for one in list(self.builder.open):
                one.fail(2)
            self.clock.advance(LAST_BACKOFF)
        self.assertEqual(len(self.builder.open), 1)
        self.builder.open[0].done()
        self.assertEqual(len(self.builder.open), SPARE - 1)

    def test_never_more_than_the_limit_at_once(self) -> None:
        """Who comes later waits, and is served."""
        pool = self.pool()
        waiting = [pool.use(want(isolation=number)) for number in range(DEFAULT_LIMITS.circuits_pending + 10)]
        self.assertEqual(len(self.builder.open), DEFAULT_LIMITS.circuits_pending)
        self.builder.finish()
        for one in waiting:
            self.successResultOf(one)

    def test_an_unexpected_error_is_logged_and_counts_as_a_failure(self) -> None:
        """A bug in a build does not stop the pool."""
        pool = self.pool()
        pool.work()
        self.builder.open[0].deferred.errback(ZeroDivisionError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(self.outcomes[0], CircuitError)

    def test_an_immediate_failure_is_no_endless_loop(self) -> None:
        """A build that fails before it has begun is followed by a pause too."""
        pool = self.pool()
        self.builder.at_once = 2
        pool.work()
        self.clock.advance(1)
        self.assertLess(len(self.builder.started), 10)


class LateTests(PoolTestCase):
    """Builds that take longer than was learned."""

    def setUp(self) -> None:
        super().setUp()
        for _ in range(ENOUGH):
            self.times.known.built(3, 2.0, late=False)

    def test_another_one_is_begun(self) -> None:
        """Who waits does not wait for the slow one, and gets the one that is built in its place."""
        pool = self.pool()
        waiting = pool.use(want())
        slow = list(self.builder.open)
        self.clock.advance(2.0)
        self.assertEqual(len(self.builder.open), 2 * len(slow))
        self.assertEqual(pool.pending, len(slow))
        slow[0].done()
        self.assertNoResult(waiting)
        self.builder.open[-1].done()
        self.successResultOf(waiting)

    def test_is_closed_when_it_comes_after_all(self) -> None:
        """And its time is learned."""
        pool = self.pool()
        pool.work()
        slow = self.builder.open[0]
        self.clock.advance(7.0)
        self.assertTrue(slow.done().closed)
        self.assertEqual(pool.status(), ())
        for _ in range(ENOUGH):
            self.times.known.built(3, 7.0, late=True)
        self.assertGreater(self.times.known.timeout(3), 2.0)

    def test_one_in_time_is_learned(self) -> None:
        """From the moment the guard was asked."""
        self.times = KeptTimes(None, self.clock)
        pool = self.pool()
        pool.work()
        for _ in range(ENOUGH):
            self.clock.advance(3.0)
            self.builder.open[0].done().close()
        self.assertNotEqual(self.times.known.timeout(3), LONGEST)

    def test_nobody_is_blamed(self) -> None:
        """A stream does not fail because builds were slow, and there is no pause."""
        pool = self.pool()
        waiting = pool.use(want())
        for _ in range(4):
            self.clock.advance(2.0)
            self.assertNoResult(waiting)
        self.builder.open[-1].done()
        self.successResultOf(waiting)
        self.assertEqual(len(self.outcomes), 1)

    def test_the_guard_is_not_blamed(self) -> None:
        """What fails after it was given up is not counted for the guard; what fails in time is."""
        pool = self.pool()
        pool.work()
        guards = self.state.files["guards"]
        self.clock.advance(2.0)
        self.builder.started[0].fail(2)
        self.paths.save()
        self.assertEqual(self.state.files["guards"], guards)
        self.clock.advance(LAST_BACKOFF)
        self.builder.started[-1].fail(2)
        self.paths.save()
        self.assertNotEqual(self.state.files["guards"], guards)

    def test_late_ones_that_fail_are_failures(self) -> None:
        """A network that is silent is told of like any other: which hop and why."""
        pool = self.pool()
        waiting = pool.use(want())
        for _ in range(3):
            for one in list(self.builder.open):
                self.clock.advance(2.0)
                one.fail(2, "no answer within 10 s")
            self.clock.advance(LAST_BACKOFF / 4)
        self.assertEqual(self.failureResultOf(waiting, CircuitBuildError).value.hop, 2)

    def test_a_network_that_changed(self) -> None:
        """When nearly all are late, builds get twice the time."""
        pool = self.pool()
        pool.work()
        for _ in range(RECENT_SLOW):
            self.clock.advance(LAST_BACKOFF)
            slow = self.builder.open[0]
            self.clock.advance(2.0)
            slow.fail(3)
        self.assertEqual(self.times.known.timeout(3), 4.0)

    def test_late_ones_count_as_pending(self) -> None:
        """A network that is silent is not asked for ever more circuits."""
        pool = self.pool()
        pool.work()
        self.clock.pump([2.0] * 50)
        self.assertEqual(len(self.builder.open), DEFAULT_LIMITS.circuits_pending)

    def test_all_are_given_up_at_the_end(self) -> None:
        """Late ones, too."""
        pool = self.pool()
        pool.work()
        self.clock.advance(2.0)
        pool.close()
        self.assertEqual(self.builder.open, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CloseTests(PoolTestCase):
    """The end."""

    def test_everything_is_freed(self) -> None:
        """Circuits are closed, builds and waits end, no timer is left."""
        pool = self.pool()
        pool.work()
        built = self.builder.finish()
        waiting = pool.use(want(hops=4))
        pool.close()
        self.failureResultOf(waiting, CircuitError)
        self.assertTrue(all(one.closed for one in built))
        self.assertEqual(self.builder.open, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.failureResultOf(pool.use(want()), CircuitError)
