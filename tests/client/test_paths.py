"""Tests of torpydo.client.paths."""

from __future__ import annotations

import msgspec
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import exits, make_paths, path, want
from tests.directory.build import NOW, OPEN, document, listing, network, node_id, url
from tests.net.pools import MemoryState
from torpydo.client.paths import COUNTERS_PAUSE, GUARDS_FILE, REFUSAL_LIFE, SUSPECT_LIFE, Want, ip_of
from torpydo.directory import NetDir
from torpydo.errors import CircuitBuildError, PathError, StateError, TooFewNodes


class WantTests(SynchronousTestCase):
    """Whether a circuit can serve a stream."""

    def test_policy_decides(self) -> None:
        """The last node's policy must accept the port."""
        route = path(1, 2, 3, policy="accept *:443")
        self.assertTrue(want(port=443).fits(route))
        self.assertFalse(want(port=80).fits(route))

    def test_an_address_is_judged_as_such(self) -> None:
        """For an IP literal the policy is asked about that address."""
        route = path(1, 2, 3, policy="accept 127.0.0.0/8:*")
        self.assertTrue(want("127.0.0.1").fits(route))
        self.assertFalse(want("8.8.8.8").fits(route))

    def test_hops_must_be_as_wanted(self) -> None:
        """A shorter circuit is another promise."""
        self.assertFalse(want(hops=2).fits(path(1, 2, 3)))
        self.assertTrue(want(hops=2).fits(path(1, 2)))

    def test_an_exit_that_refused_is_out(self) -> None:
        """A stream does not ask the same exit twice."""
        self.assertFalse(want(refused=frozenset({node_id(3)})).fits(path(1, 2, 3)))
        self.assertTrue(want(refused=frozenset({node_id(1)})).fits(path(1, 2, 3)))

    def test_names_need_an_open_exit(self) -> None:
        """Closed nodes resolve nothing."""
        self.assertTrue(want(port=None).fits(path(1, 2, 3)))
        self.assertFalse(want(port=None).fits(path(1, 2, 3, policy="")))

    def test_ip_of(self) -> None:
        """Literals of both families, and names."""
        self.assertEqual(ip_of("1.2.3.4"), b"\x01\x02\x03\x04")
        self.assertEqual(ip_of("::1"), bytes(15) + b"\x01")
        self.assertIsNone(ip_of("example.org"))


class ChooseTests(SynchronousTestCase):
    """From a want to a path."""

    def test_without_a_listing_there_is_no_path(self) -> None:
        """It says so, as an error that names the numbers."""
        self.assertRaises(TooFewNodes, make_paths(None).choose, want())

    def test_the_guard_stays(self) -> None:
        """All paths begin with the same node."""
        paths = make_paths(exits())
        self.assertEqual(len({paths.choose(want())[0].node_id for _ in range(20)}), 1)

    def test_no_guard_from_what_one_pool_shows(self) -> None:
        """While one of three pools is missing and the others disagree, no guard is drawn: it would stay (P3)."""
        state = MemoryState()
        urls = [url(pool) for pool in "abc"]
        honest = [document(name, policy=OPEN) for name in range(10)]
        few = {urls[0]: listing("a", honest), urls[2]: listing("c", honest[:3])}
        paths = make_paths(NetDir.merge(few, urls, None, NOW), state=state)
        for hops in (2, 3):
            self.assertIn("hiding nodes", str(self.assertRaises(PathError, paths.choose, want(hops=hops))))
        self.assertEqual(state.files, {})
        self.assertIn("hiding nodes", str(paths.why_not(3)))
        paths.netdir = NetDir.merge({**few, urls[1]: listing("b", honest)}, urls, None, NOW)
        self.assertEqual(len(paths.choose(want())), 3)
        self.assertIsNone(paths.why_not(3))

    def test_a_descriptor_that_breaks_what_reads_it(self) -> None:
        """It costs itself: paths are chosen, it is in none of them, and one line names the node (SECURITY N7)."""
        netdir = exits(*range(1, 11))
        bad = netdir.nodes.listed[node_id(1).raw].documents[0]
        # No bytes are known that make such a body; this is what one would look like.
        bad.body = msgspec.structs.replace(bad.body, exit_policy=None)
        paths = make_paths(netdir)
        with capturedLogs() as lines:
            for _ in range(50):
                self.assertNotIn(node_id(1), [node.node_id for node in paths.choose(want())])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError, TypeError)), 1)
        (line,) = [line for line in lines if "cannot be read" in line["log_format"]]
        self.assertEqual(line["node"], node_id(1).raw.hex()[:8])
        self.assertEqual(len(netdir.nodes), 9)

    def test_too_few_pools(self) -> None:
        """A view with too few pools behind it has no nodes, and says why."""
        urls = [url(pool) for pool in "abc"]
        paths = make_paths(NetDir.merge({urls[0]: listing("a", [document(1)])}, urls, None, NOW))
        self.assertIn("too few pools", str(self.assertRaises(TooFewNodes, paths.choose, want())))

    def test_why_not(self) -> None:
        """What can be said without choosing."""
        self.assertIn("no listing yet", str(make_paths(None).why_not(3)))
        self.assertIn("3 needed, 2 known", str(make_paths(exits(1, 2)).why_not(3)))
        self.assertIsNone(make_paths(exits()).why_not(3))

    def test_the_guard_survives_a_restart(self) -> None:
        """It is read from the state directory."""
        state = MemoryState()
        first = make_paths(exits(), state=state)
        guard = first.choose(want())[0].node_id
        first.built(first.choose(want()))
        for _ in range(3):
            self.assertEqual(make_paths(exits(), state=state).choose(want())[0].node_id, guard)

    def test_a_dead_guard_is_replaced_and_comes_back(self) -> None:
        """Another one is used at once; when the first answers again it is the guard again."""
        clock = Clock()
        paths = make_paths(exits(), clock)
        first = paths.choose(want())
        paths.built(first)
        paths.failed(first, CircuitBuildError(1, 3, "x", "no answer"))
        second = paths.choose(want())
        self.assertNotEqual(second[0].node_id, first[0].node_id)
        paths.built(first)
        self.assertEqual(paths.choose(want())[0].node_id, first[0].node_id)

    def test_a_node_that_failed_is_left_out_for_a_while(self) -> None:
        """The next paths go round it; later it is used again."""
        clock = Clock()
        paths = make_paths(exits(), clock)
        bad = paths.choose(want())
        paths.failed(bad, CircuitBuildError(2, 3, "x", "no answer"))
        middles = {paths.choose(want())[1].node_id for _ in range(40)}
        self.assertNotIn(bad[1].node_id, middles)
        clock.advance(SUSPECT_LIFE + 1)
        self.assertIn(bad[1].node_id, {paths.choose(want())[1].node_id for _ in range(40)})

    def test_better_a_suspect_than_no_path(self) -> None:
        """With three nodes the one that failed is tried again."""
        paths = make_paths(exits(1, 2, 3))
        paths.failed(paths.choose(want()), CircuitBuildError(2, 3, "x", "no answer"))
        self.assertEqual(len(paths.choose(want())), 3)

    def test_an_exit_that_refused_a_port_is_left_out_for_that_port(self) -> None:
        """Other ports still go there, and after a while that port too."""
        clock = Clock()
        paths = make_paths(exits(), clock)
        bad = paths.choose(want())[-1].node_id
        paths.refused(bad, 80)
        self.assertTrue(paths.avoids(bad, 80))
        self.assertFalse(paths.avoids(bad, 443))
        self.assertNotIn(bad, {paths.choose(want())[-1].node_id for _ in range(40)})
        clock.advance(REFUSAL_LIFE + 1)
        self.assertFalse(paths.avoids(bad, 80))

    def test_the_only_exit_is_asked_again(self) -> None:
        """A refusal is remembered only while there is another exit: one odd host does not close a port."""
        paths = make_paths(network([document(1, policy="accept *:*"), document(2), document(3), document(4)]))
        only = paths.choose(want())[-1].node_id
        paths.refused(only, 80)
        self.assertEqual(paths.choose(want())[-1].node_id, only)
        self.assertFalse(paths.avoids(only, 80))

    def test_an_exit_that_refused_the_stream_is_never_asked_again(self) -> None:
        """For the stream itself there is no way back."""
        paths = make_paths(network([document(1, policy="accept *:*"), document(2), document(3), document(4)]))
        self.assertRaises(PathError, paths.choose, want(refused=frozenset({node_id(1)})))

    def test_a_guard_that_refused_as_an_exit_stays_the_guard(self) -> None:
        """What is excluded is excluded as an exit."""
        paths = make_paths(exits())
        guard = paths.choose(want())[0].node_id
        self.assertEqual(paths.choose(want(refused=frozenset({guard})))[0].node_id, guard)

    def test_a_node_that_works_again_is_used_again(self) -> None:
        """A circuit through it is proof."""
        paths = make_paths(exits(1, 2, 3, 4))
        bad = paths.choose(want())
        paths.failed(bad, CircuitBuildError(2, 3, "x", "no answer"))
        paths.built(bad)
        self.assertIn(bad[1].node_id, {node.node_id for _ in range(20) for node in paths.choose(want())[1:]})

    def test_a_guard_that_loses_circuits_is_named(self) -> None:
        """Nine of ten fail beyond it: the first hop answered, so it is not replaced, but a person should know."""
        paths = make_paths(exits())
        chosen = paths.choose(want())
        for turn in range(200):
            if turn % 10:
                paths.failed(chosen, CircuitBuildError(2, 3, "x", "no answer"))
            else:
                paths.built(chosen)
        self.assertEqual([bias.node_id for bias in paths.biased()], [chosen[0].node_id])
        (warning,) = paths.warnings()
        self.assertIn(f"guard {chosen[0].node_id.short} lets only 10% of the circuits", warning)
        self.assertIn("it may be choosing", warning)
        self.assertEqual(paths.choose(want())[0].node_id, chosen[0].node_id)

    def test_a_guard_that_loses_some_is_warned_of(self) -> None:
        """Between 30 and 50 % it is named without advice (SECURITY G3)."""
        paths = make_paths(exits())
        chosen = paths.choose(want())
        for turn in range(200):
            if turn % 5 < 3:
                paths.failed(chosen, CircuitBuildError(2, 3, "x", "no answer"))
            else:
                paths.built(chosen)
        (warning,) = paths.warnings()
        self.assertTrue(warning.endswith("lets only 40% of the circuits through it be built"))

    def test_late_circuits_are_not_the_guards_fault(self) -> None:
        """One that was given up for its slowness and failed then counts against no guard that had answered."""
        paths = make_paths(exits())
        chosen = paths.choose(want())
        for _ in range(200):
            paths.failed(chosen, CircuitBuildError(2, 3, "x", "no answer"), late=True)
        self.assertEqual(paths.biased(), ())
        paths.failed(chosen, CircuitBuildError(1, 3, "x", "no answer"), late=True)
        self.assertNotEqual(paths.choose(want())[0].node_id, chosen[0].node_id)

    def test_one_hop_has_no_guard(self) -> None:
        """A path of one node is an exit, whichever the guard is."""
        paths = make_paths(network([document(1, policy="accept *:*"), document(2), document(3)]))
        for _ in range(5):
            self.assertEqual(paths.choose(Want("example.org", 80, 1))[0].node_id, node_id(1))


class FileTests(SynchronousTestCase):
    """The guards on disk."""

    def test_a_torn_file_is_set_aside(self) -> None:
        """New guards are chosen only after the old file is safe, and a line says so."""
        state = MemoryState({GUARDS_FILE: b"garbage"})
        with capturedLogs() as lines:
            make_paths(exits(), state=state).choose(want())
        self.assertEqual(state.files[f"{GUARDS_FILE}.bad"], b"garbage")
        self.assertNotEqual(state.files[GUARDS_FILE], b"garbage")
        self.assertEqual(len([line for line in lines if "set aside" in line["log_format"]]), 1)

    def test_a_torn_file_that_cannot_be_set_aside_is_an_error(self) -> None:
        """The last copy is not written over."""
        state = MemoryState({GUARDS_FILE: b"garbage"}, full=True)
        self.assertRaises(StateError, make_paths, exits(), None, state)

    def test_a_full_disk_is_said_once(self) -> None:
        """Paths are chosen all the same."""
        state = MemoryState(full=True)
        paths = make_paths(exits(), state=state)
        with capturedLogs() as lines:
            paths.built(paths.choose(want()))
        self.assertEqual(len([line for line in lines if "not kept" in line["log_format"]]), 1)

    def test_counters_are_not_written_for_each_circuit(self) -> None:
        """A thousand circuits are not a thousand writes; the end of the client writes them."""
        clock = Clock()
        state = MemoryState()
        paths = make_paths(exits(), clock, state)
        chosen = paths.choose(want())
        paths.built(chosen)
        before = state.files[GUARDS_FILE]
        paths.built(chosen)
        self.assertEqual(state.files[GUARDS_FILE], before)
        clock.advance(COUNTERS_PAUSE)
        paths.built(chosen)
        later = state.files[GUARDS_FILE]
        self.assertNotEqual(later, before)
        paths.built(chosen)
        paths.save()
        self.assertNotEqual(state.files[GUARDS_FILE], later)
