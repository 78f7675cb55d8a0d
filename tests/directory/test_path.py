"""Tests of torpydo.directory.path."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import (
    NOW,
    OPEN,
    descriptor,
    document,
    fields,
    forge,
    key,
    listing,
    network,
    node_id,
    randbelow,
    resign,
    url,
)
from torpydo.crypto import Purpose
from torpydo.directory import ANY_PORT, Descriptor, NetDir, check_path, choose_path, sign_descriptor
from torpydo.errors import ConfigurationError, NoExit, PathError, TooFewNodes
from torpydo.tpdp import Address

TEST = {"test-network": True}


def choose(
    netdir: NetDir, *, hops: int = 3, port: int | None = 443, seed: int = 1, **more: Any
) -> tuple[Descriptor, ...]:
    return choose_path(netdir, hops=hops, port=port, randbelow=randbelow(seed), **more)


def nicknames(path: Sequence[Descriptor]) -> list[str]:
    return [node.nickname for node in path]


def open_network(count: int, **more: Any) -> NetDir:
    return network([document(name, policy=OPEN, **more) for name in range(count)])


class RuleTests(SynchronousTestCase):
    @given(
        st.lists(
            st.tuples(st.integers(0, 5), st.booleans(), st.sets(st.integers(0, 11), max_size=6)),
            min_size=3,
            max_size=12,
        ),
        st.integers(1, 5),
        st.booleans(),
        st.integers(0, 1000),
    )
    def test_every_path_keeps_the_rules(
        self, nodes: list[tuple[int, bool, set[int]]], hops: int, lifted: bool, seed: int
    ) -> None:
        """Whatever the network: no node, family or subnet twice, and an exit that allows the port."""
        netdir = network(
            [
                document(
                    name,
                    policy=OPEN if exits else "",
                    family=family,
                    address=Address(bytes([20, block, name, 1]), 6000),
                )
                for name, (block, exits, family) in enumerate(nodes)
            ],
            parameters=TEST if lifted else {},
        )
        try:
            path = choose(netdir, hops=hops, seed=seed)
        except PathError:
            assume(False)
        self.assertEqual(len(path), hops)
        self.assertTrue(path[-1].exit_policy.may_allow_port(443))
        self.assertEqual(len({node.node_id for node in path}), hops)
        self.assertTrue(lifted or len({node.address.ip[:2] for node in path}) == hops)
        for one in path:
            others = [two for two in path if two is not one]
            self.assertFalse(any(two.node_id in one.family and one.node_id in two.family for two in others))

    def test_many_paths(self) -> None:
        """No path breaks a rule, and the exits are those that their weights say (chi-squared, p > 0.001).

        SECURITY P1 wants a hundred thousand: that many are chosen in the nightly profile, a fifth of them otherwise.
        """
        nodes = [
            descriptor(
                name,
                policy=OPEN if name % 3 == 0 else "",
                bandwidth=10**6 + 10**5 * (name % 7),
                family=[name + 1] if name % 10 == 0 else [name - 1] if name % 10 == 1 else [],
                address=Address(bytes([20, name // 3, name % 3, 1]), 6000),
            )
            for name in range(60)
        ]
        netdir = network([sign_descriptor(node, key(name)) for name, node in enumerate(nodes)])
        forbidden = {
            frozenset((one.nickname, two.nickname))
            for one in nodes
            for two in nodes
            if one is two or one.address.ip[:2] == two.address.ip[:2] or one.node_id in two.family
        }
        draw, violations = randbelow(5), 0
        count = 100_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 20_000
        exits: Counter[str] = Counter()
        for _ in range(count):
            guard, middle, last = (node.nickname for node in choose_path(netdir, hops=3, port=443, randbelow=draw))
            exits[last] += 1
            pairs = (guard, middle), (middle, last), (guard, last)
            violations += any(frozenset(pair) in forbidden for pair in pairs)
        self.assertEqual(violations, 0)
        weights = {node.best.body.nickname: node.weight for node in netdir.exits.nodes}
        self.assertEqual(set(exits), set(weights))
        share = count / sum(weights.values())
        chi = sum((exits[name] - share * weight) ** 2 / (share * weight) for name, weight in weights.items())
        self.assertLess(chi, 43.8)  # 19 degrees of freedom

    def test_family_needs_both(self) -> None:
        """Naming another node as family does not keep it out of a path; naming each other does."""
        third = document(3)
        for first, second in (([2], []), ([], [1])):
            one_sided = network([document(1, policy=OPEN, family=first), document(2, family=second), third])
            self.assertEqual(len(choose(one_sided)), 3)
        mutual = network([document(1, policy=OPEN, family=[2]), document(2, family=[1]), third])
        self.assertRaises(TooFewNodes, choose, mutual)

    def test_subnets(self) -> None:
        """Two nodes of one IPv4 /16 or IPv6 /32 are not in one path, except in a test network."""
        for one, two in (("8.8.0.1", "8.8.255.1"), ("2a00:1:2::1", "2a00:1:3::1")):
            documents = [
                document(1, policy=OPEN, address=Address.parse(one, 1)),
                document(2, address=Address.parse(two, 1)),
                document(3),
            ]
            error = self.assertRaises(TooFewNodes, choose, network(documents))
            self.assertIn("3 needed, 2 known", str(error))
            self.assertEqual(len(choose(network(documents, parameters=TEST))), 3)

    def test_family_holds_in_a_test_network(self) -> None:
        """A test network lifts the subnets, not the families."""
        documents = [document(1, policy=OPEN, family=[2]), document(2, family=[1]), document(3)]
        self.assertRaises(TooFewNodes, choose, network(documents, parameters=TEST))

    def test_family_that_is_not_transitive(self) -> None:
        """A choice that leads into a dead end is made again."""
        netdir = network(
            [document(0, policy=OPEN), document(1, family=[2, 3]), document(2, family=[1]), document(3, family=[1])]
        )
        for seed in range(20):
            self.assertEqual({*nicknames(choose(netdir, seed=seed))}, {"node0", "node2", "node3"})

    def test_hops(self) -> None:
        """A path has one to eight hops."""
        netdir = open_network(9)
        for hops in range(1, 9):
            self.assertEqual(len(choose(netdir, hops=hops)), hops)
        for hops in (0, 9, -1):
            self.assertRaises(ConfigurationError, choose, netdir, hops=hops)

    def test_exclude(self) -> None:
        """Excluded nodes are not used, and count as not known; naming an unknown node changes nothing."""
        netdir = open_network(4)
        for seed in range(20):
            path = choose(netdir, seed=seed, exclude=[node_id(0), node_id("unknown")])
            self.assertNotIn("node0", nicknames(path))
        error = self.assertRaises(TooFewNodes, choose, netdir, exclude=[node_id(0), node_id(1)])
        self.assertIn("3 needed, 2 known", str(error))


class ExitTests(SynchronousTestCase):
    def test_no_exit(self) -> None:
        """If no policy allows the port, the error names the port."""
        error = self.assertRaises(NoExit, choose, network([document(name, policy="accept *:80") for name in range(5)]))
        self.assertEqual(error.port, 443)
        self.assertRaises(NoExit, choose, network([document(name) for name in range(5)]))

    def test_no_exit_wanted(self) -> None:
        """Without a port any node may be the last."""
        self.assertEqual(len(choose(network([document(name) for name in range(3)]), port=None)), 3)

    def test_any_port(self) -> None:
        """For a name to be resolved any open exit will do."""
        netdir = network([document(0, policy="accept *:80"), document(1), document(2)])
        self.assertEqual(choose(netdir, port=ANY_PORT)[-1].nickname, "node0")
        error = self.assertRaises(NoExit, choose, network([document(name) for name in range(3)]), port=ANY_PORT)
        self.assertIsNone(error.port)

    def test_known_address(self) -> None:
        """If the address is known, the policy is asked about it."""
        exits = [document(0, policy="accept 8.8.8.8:443"), document(1, policy="accept 9.9.9.9:443")]
        netdir = network([*exits, document(2), document(3)])
        for seed in range(10):
            path = choose(netdir, seed=seed, exit_host_ip=ip_address("9.9.9.9").packed)
            self.assertEqual(path[-1].nickname, "node1")
        error = self.assertRaises(NoExit, choose, netdir, exit_host_ip=bytes([1, 1, 1, 1]))
        self.assertIn("this address with port 443", str(error))

    def test_wide_exits_first(self) -> None:
        """If the address is not known, exits for a single network are taken only if there is no other."""
        narrow = [document(name, policy="accept 10.0.0.0/8:443") for name in range(5)]
        for seed in range(10):
            path = choose(network([*narrow, document(5, policy=OPEN)]), seed=seed)
            self.assertEqual(path[-1].nickname, "node5")
        self.assertEqual(len(choose(network(narrow))), 3)

    def test_private_exits_in_a_test_network(self) -> None:
        """In a test network an exit for loopback is an exit like any other."""
        documents = [document(name, policy="accept 127.0.0.0/8:*") for name in range(3)] + [document(3, policy=OPEN)]
        netdir = network(documents, parameters=TEST)
        self.assertIn("node1", {choose(netdir, seed=seed)[-1].nickname for seed in range(40)})

    def test_rare_exit(self) -> None:
        """A single exit among many is found, and remembered."""
        netdir = network([document(name, policy="accept *:80") for name in range(200)] + [document(300, policy=OPEN)])
        for seed in range(5):
            self.assertEqual(choose(netdir, seed=seed)[-1].nickname, "node300")

    def test_remembered_destinations_have_a_bound(self) -> None:
        """What is remembered of destinations does not grow without end."""
        netdir = network([document(name, policy="accept *:1") for name in range(3)])
        for port in range(2, 300):
            self.assertRaises(NoExit, choose, netdir, port=port)
        self.assertLessEqual(len(netdir._exits_for), 256)


class GuardTests(SynchronousTestCase):
    def test_guard_is_first(self) -> None:
        """A given guard is the first hop and nothing else."""
        netdir = open_network(5)
        for seed in range(10):
            self.assertEqual(nicknames(choose(netdir, seed=seed, guard=node_id(2)))[0], "node2")

    def test_guard_that_is_the_only_exit(self) -> None:
        """If no path begins with the first guard, the next one is used; with one guard it is an error."""
        netdir = network([document(0, policy=OPEN), document(1), document(2), document(3)])
        path = choose(netdir, guard=[node_id(0), node_id(1)])
        self.assertEqual((nicknames(path)[0], nicknames(path)[-1]), ("node1", "node0"))
        error = self.assertRaises(TooFewNodes, choose, netdir, guard=node_id(0))
        self.assertIn("3 needed, 1 known", str(error))

    def test_unlisted_guards(self) -> None:
        """Guards that are not listed, forged or excluded are passed over."""
        netdir = network([document(name, policy=OPEN) for name in range(8)] + [forge(document(8))])
        bad = [node_id("unknown"), node_id(8)]
        path = choose(netdir, guard=[*bad, node_id(0), node_id(1)], exclude=[node_id(0)])
        self.assertEqual(path[0].nickname, "node1")
        self.assertRaises(PathError, choose, netdir, guard=bad)

    def test_one_hop_has_no_guard(self) -> None:
        """A path of one hop is its exit."""
        netdir = network([document(0, policy=OPEN), document(1)])
        self.assertEqual(nicknames(choose(netdir, hops=1, guard=node_id(1))), ["node0"])


class SecondTests(SynchronousTestCase):
    """A node for the place behind the guard."""

    def test_second_is_second(self) -> None:
        """It stands behind the guard, and nowhere else; before it there is only the guard."""
        netdir = open_network(8)
        for seed in range(20):
            for hops in (3, 4, 5):
                path = choose(netdir, seed=seed, hops=hops, port=None, guard=node_id(2), second=node_id(5))
                self.assertEqual(nicknames(path)[:2], ["node2", "node5"])
                self.assertEqual(len(path), hops)
        path = choose(netdir, hops=4, port=None, guard=node_id(2), second=node_id(5), last=node_id(7))
        self.assertEqual(nicknames(path)[::3], ["node2", "node7"])

    def test_next_guard(self) -> None:
        """A guard that is related to it is passed over."""
        netdir = network([document(0, family=[1]), document(1, family=[0]), document(2), document(3), document(4)])
        path = choose(netdir, port=None, guard=[node_id(0), node_id(1), node_id(2)], second=node_id(1))
        self.assertEqual(nicknames(path)[:2], ["node2", "node1"])

    def test_refused(self) -> None:
        """One that is not listed, forged, excluded, the guard itself or the last node makes no path."""
        netdir = network([document(name) for name in range(12)] + [forge(document(12))])
        for name in ("unknown", 12, 0, 1):
            error = self.assertRaises(
                PathError, choose, netdir, port=None, guard=node_id(0), second=node_id(name), exclude=[node_id(1)]
            )
            self.assertIn("second node", str(error))
        self.assertRaises(PathError, choose, netdir, port=None, guard=node_id(0), second=node_id(2), last=node_id(2))

    def test_no_place(self) -> None:
        """Without a guard, or with less than three hops, there is no such place."""
        netdir = open_network(5)
        self.assertRaises(ConfigurationError, choose, netdir, second=node_id(1))
        self.assertRaises(ConfigurationError, choose, netdir, hops=2, guard=node_id(0), second=node_id(1))


class WeightTests(SynchronousTestCase):
    def test_by_bandwidth(self) -> None:
        """Nodes are chosen in proportion to their weight (chi-squared, 9 degrees of freedom, p > 0.001)."""
        netdir = network([document(name, bandwidth=100 + 10 * name) for name in range(10)])
        draw = randbelow(7)
        count = 4000
        seen = Counter(choose_path(netdir, hops=1, port=None, randbelow=draw)[0].nickname for _ in range(count))
        weights = {node.best.body.nickname: node.weight for node in netdir.nodes.listed.values()}
        total = sum(weights.values())
        chi = sum(
            (seen[name] - count * weight / total) ** 2 / (count * weight / total) for name, weight in weights.items()
        )
        self.assertLess(chi, 27.9)

    def test_a_liar_gains_little(self) -> None:
        """A node that claims a thousand times its bandwidth is chosen at most 1.5 times as often, give or take."""
        netdir = network([document(name, bandwidth=10**9 if name == 0 else 10**6) for name in range(20)])
        weights = {node.best.body.nickname: node.weight for node in netdir.nodes.listed.values()}
        self.assertEqual({weights["node0"] / weight for name, weight in weights.items() if name != "node0"}, {1.5})
        draw = randbelow(3)
        seen = Counter(choose_path(netdir, hops=1, port=None, randbelow=draw)[0].nickname for _ in range(4000))
        honest = sum(count for name, count in seen.items() if name != "node0") / 19
        self.assertLess(seen["node0"] / honest, 1.7)
        self.assertGreater(seen["node0"] / honest, 1.3)


class HostileTests(SynchronousTestCase):
    def test_forged_nodes_are_passed_over(self) -> None:
        """Forged descriptors never get into a path, and are no obstacle while most are real."""
        netdir = network([document(name, policy=OPEN) for name in range(40)] + [forge(document(100, policy=OPEN))])
        for seed in range(30):
            self.assertNotIn("node100", nicknames(choose(netdir, seed=seed)))

    def test_mostly_forged(self) -> None:
        """Among many forged ones the real exit is found."""
        forged = [forge(document(name, policy=OPEN)) for name in range(30)]
        real = [document(name) for name in range(100, 300)] + [document(400, policy=OPEN)]
        self.assertEqual(choose(network([*forged, *real]))[-1].nickname, "node400")

    def test_rare_and_forged(self) -> None:
        """A forged exit is found out even where the exits are so rare that all nodes are looked at."""
        others = [document(name, policy="accept *:80", bandwidth=10**6) for name in range(200)]
        rare = [document(300, policy=OPEN, bandwidth=1), forge(document(301, policy=OPEN, bandwidth=1))]
        for seed in range(6):
            self.assertEqual(choose(network([*others, *rare]), seed=seed)[-1].nickname, "node300")
        only_forged = network([*others, rare[1]])
        self.assertRaises(TooFewNodes, choose, only_forged)

    def test_forged_policy_or_family_hides_nothing(self) -> None:
        """A pool that lists a forged newer descriptor with a closed policy cannot hide an exit."""
        urls = [url("a"), url("b")]
        real = [document(0, policy=OPEN), document(1), document(2)]
        forged = [forge(document(0, sequence=NOW * 1000 + 1)), *real[1:]]
        netdir = NetDir.merge({urls[0]: listing("a", forged), urls[1]: listing("b", real)}, urls, None, NOW)
        self.assertEqual(choose(netdir)[-1].nickname, "node0")

    def test_bad_policy(self) -> None:
        """A signed descriptor with a policy that does not parse is no exit."""
        values = fields(document(0, policy=OPEN))
        values[5] = "nonsense"
        bad = resign(values, key(0), Purpose.DESCRIPTOR)
        others = [document(name) for name in range(1, 9)]
        self.assertRaises(NoExit, choose, network([bad, *others]))

    def test_too_many_unusable(self) -> None:
        """If less than 60 % of all paths are usable, none is: someone may be hiding nodes."""
        stale = [document(name, policy=OPEN, published=NOW - 49 * 3600) for name in range(2)]
        fresh = [document(name, policy=OPEN) for name in range(2, 10)]
        error = self.assertRaises(PathError, choose, network([*stale, *fresh]))
        self.assertIn("only 51% of all paths", str(error))
        self.assertIn("of 10 listed nodes only 8", str(error))
        self.assertEqual(len(choose(network([*stale[:1], *fresh]))), 3)
        self.assertEqual(len(choose(network([*stale, *fresh]), hops=2)), 2)

    def test_empty(self) -> None:
        """Without any node the error says how many there are."""
        error = self.assertRaises(TooFewNodes, choose, network([]))
        self.assertIn("3 needed, 0 known", str(error))

    def test_large_network_of_one_owner(self) -> None:
        """A network that is all one subnet gives no path, however large it is."""
        documents = [
            document(name, policy=OPEN, address=Address(bytes([20, 20, name, 1]), 6000)) for name in range(100)
        ]
        error = self.assertRaises(TooFewNodes, choose, network(documents))
        self.assertIn("subnet", str(error))


class CheckPathTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A path that keeps the rules passes."""
        check_path([descriptor(name) for name in range(8)], test_network=False)

    def test_violations(self) -> None:
        """Each broken rule is named, with the hops."""
        near = Address(bytes([20, 1, 9, 9]), 1)
        for second, why in (
            (descriptor(1), "the same node"),
            (descriptor(2, family=[1]), "one family"),
            (descriptor(2, address=near), "the same subnet"),
        ):
            path = [descriptor(0), descriptor(1, family=[2]), second]
            error = self.assertRaises(PathError, check_path, path, test_network=False)
            self.assertIn("hops 2 and 3", str(error))
            self.assertIn(why, str(error))

    def test_test_network(self) -> None:
        """In a test network hops may share a subnet."""
        check_path([descriptor(1), descriptor(2, address=Address(bytes([20, 1, 9, 9]), 1))], test_network=True)

    def test_length(self) -> None:
        """A path has one to eight hops."""
        for count in (0, 9):
            path = [descriptor(name) for name in range(count)]
            self.assertRaises(ConfigurationError, check_path, path, test_network=False)
