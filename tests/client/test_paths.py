"""Tests of torpydo.client.paths."""

from __future__ import annotations

import random
from itertools import permutations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import exits, make_paths, path, want
from tests.directory.build import NOW, OPEN, document, listing, network, node_id, url
from tests.net.pools import MemoryState, WallClock
from torpydo.client.paths import COUNTERS_PAUSE, GUARDS_FILE, REFUSAL_LIFE, SUSPECT_LIFE, Want, ip_of
from torpydo.client.vanguards import VANGUARDS_FILE
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor, GuardSample, NetDir, Services, VanguardSet
from torpydo.errors import CircuitBuildError, PathError, StateError, TooFewNodes

DAY = 86_400


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


def talk(last: NodeId | None = None, *, hops: int = 3, avoid: frozenset[NodeId] = frozenset()) -> Want:
    """What a conversation wants of its circuit."""
    return Want("", None, hops, refused=avoid, anywhere=True, last=last)


class Talker:
    """A client that has many conversations, its clocks and its state."""

    def __init__(self, netdir: NetDir, seed: int = 1) -> None:
        self.netdir = netdir
        self.clock = Clock()
        self.wall_clock = WallClock()
        self.state = MemoryState()
        self.random = random.Random(seed)
        self.start()

    def start(self) -> None:
        """With what is on disk and nothing else."""
        self.paths = make_paths(
            self.netdir, self.clock, self.state, wall_clock=self.wall_clock, randbelow=self.random.randrange
        )

    def advance(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.advance(seconds)
        self.wall_clock.now += seconds

    def talk(self, last: NodeId | None = None, hops: int = 3) -> tuple[Descriptor, ...]:
        """The path of a conversation."""
        return self.paths.choose(talk(last, hops=hops))

    def seconds(self, count: int = 100) -> set[NodeId]:
        """The second nodes of many."""
        return {self.talk()[1].node_id for _ in range(count)}

    def fail(self, hop: int, *nodes: NodeId) -> None:
        """Circuits through each of these, in that place, cannot be built."""
        for node in nodes:
            chosen = next(path for path in (self.talk() for _ in range(1000)) if path[hop - 1].node_id == node)
            self.paths.failed(chosen, CircuitBuildError(hop, 3, "x", "no answer"))

    def guards(self) -> tuple[NodeId, ...]:
        """Those that circuits may begin with while none of them failed."""
        return GuardSample.decode(self.state.files[GUARDS_FILE]).order(self.netdir, NOW, self.random.randrange)

    @property
    def kept(self) -> VanguardSet:
        """Its vanguards, as they are on disk."""
        return VanguardSet.decode(self.state.files[VANGUARDS_FILE])


class VanguardTests(SynchronousTestCase):
    """The second nodes of circuits for conversations (SECURITY G4, O6)."""

    def test_a_thousand_conversations(self) -> None:
        """Within a day no more than four nodes stand behind the guard, whoever says where the circuits end."""
        for seed in range(3):
            talker = Talker(exits(*range(60)), seed)
            seconds = set()
            for number in range(1000):
                last = None if number % 3 == 0 else node_id(talker.random.randrange(60))
                chosen = talker.talk(last, 3 + number % 2)
                self.assertEqual(len(chosen), 3 + number % 2)
                self.assertIn(last, (None, chosen[-1].node_id))
                seconds.add(chosen[1].node_id)
                talker.advance(DAY / 1001)
            self.assertEqual(len(seconds), 4)

    def test_each_is_used(self) -> None:
        """All four about equally often."""
        talker = Talker(exits(*range(60)))
        times = {node: 0 for node in talker.seconds()}
        for _ in range(1000):
            times[talker.talk()[1].node_id] += 1
        self.assertTrue(all(200 < count < 300 for count in times.values()), times)

    def test_they_change(self) -> None:
        """After twelve days none of them need be the same, and over months most nodes were one."""
        talker = Talker(exits(*range(30)))
        first, met = talker.seconds(), set()
        for _ in range(90):
            talker.advance(DAY)
            now = talker.seconds(20)
            self.assertLessEqual(len(now), 4)
            met |= now
        self.assertNotEqual(now, first)
        self.assertGreater(len(met), 15)

    def test_a_restart(self) -> None:
        """They are the same afterwards."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        for _ in range(10):
            talker.start()
            self.assertEqual(talker.seconds(), seconds)

    def test_other_circuits(self) -> None:
        """Those for streams, and those without a place for one, have no vanguard; no file is written for them."""
        talker = Talker(exits(*range(60)))
        self.assertGreater(len({talker.paths.choose(want())[1].node_id for _ in range(100)}), 20)
        for hops in (1, 2):
            self.assertGreater(len({talker.talk(hops=hops)[-1].node_id for _ in range(100)}), 20)
        self.assertNotIn(VANGUARDS_FILE, talker.state.files)

    def test_own_choices(self) -> None:
        """A last node that the client chooses is neither a vanguard nor the guard, the one that waits neither."""
        talker = Talker(exits(*range(20)))
        talker.paths.built(talker.talk())
        guard = talker.talk()[0].node_id
        near = {guard, *talker.seconds()}
        self.assertEqual({talker.talk()[-1].node_id for _ in range(500)} & near, set())
        talker.paths.failed(talker.talk(), CircuitBuildError(1, 3, "x", "no answer"))
        talker.clock.advance(SUSPECT_LIFE + 1)  # of the two clocks only that of failures: the guard still waits
        self.assertNotEqual(talker.talk()[0].node_id, guard)
        self.assertEqual({talker.talk()[-1].node_id for _ in range(500)} & near, set())

    def test_nowhere_else_to_meet(self) -> None:
        """If only vanguards offer what the last node is to do, it is one of them, and another one is the second."""
        talker = Talker(exits(*range(20)))
        four = talker.seconds()
        netdir = network(
            [document(name, services=Services.ONION if node_id(name) in four else Services.NONE) for name in range(20)]
        )
        talker.paths.netdir = netdir
        for _ in range(50):
            chosen = talker.paths.choose(Want("", None, anywhere=True, services=Services.ONION))
            self.assertLessEqual({chosen[1].node_id, chosen[2].node_id}, four)

    def test_to_a_vanguard(self) -> None:
        """A circuit to one of them goes through another one."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        for last in seconds:
            for hops in (3, 4):
                self.assertEqual({talker.talk(last, hops)[1].node_id for _ in range(50)}, seconds - {last})

    def test_to_the_guard(self) -> None:
        """A circuit to the guard begins with the next one, and has a vanguard too."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        guard = talker.talk()[0].node_id
        for _ in range(50):
            chosen = talker.talk(guard)
            self.assertNotEqual(chosen[0].node_id, guard)
            self.assertIn(chosen[1].node_id, seconds)

    def test_small_networks(self) -> None:
        """With four nodes and more every node can be reached; with five the client's own choices are all right."""
        for size in range(4, 9):
            talker = Talker(exits(*range(size)))
            for hops in (3, 4):
                for name in range(size):
                    self.assertEqual(talker.talk(node_id(name), hops)[-1].node_id, node_id(name))
            self.assertLessEqual(len(talker.seconds()), 4)
        for size in range(5, 9):
            talker = Talker(exits(*range(size)))
            seconds = talker.seconds()
            self.assertEqual(len(seconds), min(size - 3, 4))
            self.assertEqual({talker.talk()[-1].node_id for _ in range(100)} & seconds, set())
            self.assertGreater(len({talker.talk()[-1].node_id for _ in range(100)}), 1)

    def test_one_that_fails(self) -> None:
        """It is left out for a while, as any node that fails, and keeps its place."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        bad = min(seconds, key=lambda node: node.raw)
        talker.fail(2, bad)
        self.assertEqual(talker.seconds(), seconds - {bad})
        talker.advance(SUSPECT_LIFE + 1)
        self.assertEqual(talker.seconds(), seconds)

    def test_all_fail(self) -> None:
        """A spare comes, the same for all circuits; whatever fails, there are never more than eight."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        talker.fail(2, *seconds)
        (spare,) = talker.seconds()
        self.assertNotIn(spare, seconds)
        talker.advance(SUSPECT_LIFE + 1)
        self.assertEqual(talker.seconds(), seconds)
        met = set(seconds)
        for _ in range(300):
            chosen = talker.talk()
            met.add(chosen[1].node_id)
            talker.paths.failed(chosen, CircuitBuildError(2, 3, "x", "no answer"))
        self.assertEqual(len(met), 8)
        self.assertIn(spare, met)
        talker.start()
        self.assertEqual(talker.seconds(), seconds)

    def test_all_are_gone(self) -> None:
        """Where none of the four is listed, circuits are built all the same, through a spare that stays."""
        talker = Talker(exits(*range(60)))
        seconds = talker.seconds()
        talker.paths.netdir = exits(*(name for name in range(60) if node_id(name) not in seconds))
        spares = talker.seconds()
        self.assertEqual(len(spares), 1)
        talker.paths.netdir = talker.netdir
        self.assertEqual(talker.seconds(), seconds)

    def test_relatives_of_all(self) -> None:
        """A last node that is of the family of every vanguard is reached, with a spare."""
        talker = Talker(exits(*range(10)))
        four = talker.kept.in_use if talker.seconds() else ()
        names = [name for name in range(10) if node_id(name) in four]
        guard = talker.talk()[0].node_id
        last = next(name for name in range(10) if node_id(name) not in (*four, guard))
        talker.paths.netdir = network(
            [document(name, family=names if name == last else [last] if name in names else []) for name in range(10)]
        )
        reached = [talker.talk(node_id(last)) for _ in range(50)]
        self.assertEqual({chosen[0].node_id for chosen in reached}, {guard})
        self.assertEqual(len({chosen[1].node_id for chosen in reached} - set(four)), 1)

    def test_a_last_node_that_failed(self) -> None:
        """It is tried again if it is asked for, and that makes no other node that failed a good one."""
        talker = Talker(exits(*range(60)))
        bad, *good = sorted(talker.seconds(), key=lambda node: node.raw)
        talker.fail(2, bad)
        last = talker.talk()[-1].node_id
        talker.fail(3, last)
        self.assertEqual({talker.talk(last)[1].node_id for _ in range(50)}, set(good))
        self.assertEqual(talker.seconds(), set(good))

    @given(
        st.lists(st.integers(0, 6), min_size=3, max_size=7),
        st.integers(3, 4),
        st.lists(st.tuples(st.none() | st.integers(0, 6), st.integers(2, 4) | st.none()), max_size=8),
        st.sets(st.integers(0, 6), max_size=2),
        st.integers(0, 100),
    )
    def test_whenever_there_is_a_path(
        self,
        families: list[int],
        hops: int,
        before: list[tuple[int | None, int | None]],
        avoid: set[int],
        seed: int,
    ) -> None:
        """In a network with families, whatever failed before: there is a path for it exactly if any path is one."""
        members = range(len(families))
        ids = [node_id(name) for name in members]
        kin = [[other for other in members if families[other] == family] for family in families]
        netdir = network([document(name, family=kin[name]) for name in members])
        talker = Talker(netdir, seed)
        # The first asks for what there may be none of: the guards are drawn in any case.
        for name, failed in [(None, None), *before]:
            try:
                chosen = talker.talk(None if name is None or name not in members else ids[name], hops)
            except PathError:
                continue
            if failed is not None and failed <= hops:
                talker.paths.failed(chosen, CircuitBuildError(failed, hops, "x", "no answer"))
        refused = frozenset(ids[name] for name in avoid.intersection(members))
        guards = talker.guards()
        possible = [
            one
            for one in permutations(members, hops)
            if len({families[name] for name in one}) == hops
            and ids[one[0]] in guards
            and not avoid.intersection(one[1:])
        ]
        for last in (None, *members):
            asked = talk(None if last is None else ids[last], hops=hops, avoid=refused)
            if any(last in (None, one[-1]) for one in possible):
                self.assertEqual(len(talker.paths.choose(asked)), hops)
            else:
                self.assertRaises(PathError, talker.paths.choose, asked)


class FileTests(SynchronousTestCase):
    """Guards and vanguards on disk."""

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

    def test_vanguards_are_written_once_they_can_be(self) -> None:
        """What could not be written is written when there is room, though nothing has changed since."""
        state = MemoryState(full=True)
        paths = make_paths(exits(*range(20)), state=state, randbelow=random.Random(1).randrange)
        with capturedLogs() as lines:
            seconds = {paths.choose(talk())[1].node_id for _ in range(50)}
        self.assertEqual(len([line for line in lines if line.get("what") == "the vanguards"]), 1)
        state.full = False
        self.assertIn(paths.choose(talk())[1].node_id, seconds)
        self.assertEqual(set(VanguardSet.decode(state.files[VANGUARDS_FILE]).in_use), seconds)
        before = dict(state.files)
        state.full = True
        with capturedLogs() as lines:
            paths.choose(talk())
        self.assertEqual((lines, state.files), ([], before))

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
