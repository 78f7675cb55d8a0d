"""Tests of torpydo.directory.netdir and nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
from hypothesis import given
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
    resign,
    url,
)
from torpydo.crypto import Purpose
from torpydo.directory import STAMP_BITS, Listing, ListingEntry, NetDir, Parameter, PoolURL, majority
from torpydo.directory.netdir import Destination
from torpydo.errors import ConfigurationError
from torpydo.tpdp import Address


def merge(
    contents: Mapping[object, Sequence[bytes]],
    *,
    pools: Sequence[object] = ("a", "b", "c"),
    threshold: int | None = None,
    now: float = NOW,
    host: str = "127.0.0.1",
    **overrides: Any,
) -> NetDir:
    """The view of a client of *pools*, of which each lists its *contents*."""
    urls = {pool: url(pool, host) for pool in pools}
    listings = {urls[pool]: listing(pool, documents, **overrides) for pool, documents in contents.items()}
    return NetDir.merge(listings, list(urls.values()), threshold, now)


def names(netdir: NetDir) -> set[str]:
    return {made.nickname for made in netdir.nodes.values()}


class StampTests(SynchronousTestCase):
    """What readers believe of stamps, which they do not look at themselves (SECURITY K1)."""

    def stamp(self, contents: Mapping[object, Sequence[bytes]], **options: Any) -> bytes | None:
        """The stamp that counts for node 0."""
        return merge(contents, **options).nodes.listed[node_id(0).raw].stamp

    def test_agreed(self) -> None:
        """The stamp that enough pools give counts."""
        raw = document(stamp=b"s" * 24)
        self.assertEqual(self.stamp({"a": [raw], "b": [raw]}), b"s" * 24)
        self.assertEqual(self.stamp({"a": [document()], "b": [document()], "c": [document()]}), b"")

    def test_one_pool_alone(self) -> None:
        """A pool that lists a stamp which it never looked at gives nobody another place."""
        raw, forged = document(stamp=b"s" * 24), document(stamp=b"f" * 24, sequence=NOW * 1000 + 9)
        self.assertEqual(self.stamp({"a": [raw], "b": [raw], "c": [forged]}), b"s" * 24)

    def test_too_few(self) -> None:
        """While too few agree there is none, and the node is used for all else."""
        raw, newer = document(stamp=b"s" * 24), document(stamp=b"n" * 24, sequence=NOW * 1000 + 9)
        netdir = merge({"a": [raw], "b": [newer]})
        self.assertIsNone(netdir.nodes.listed[node_id(0).raw].stamp)
        self.assertEqual(names(netdir), {"node0"})

    def test_two_let_through(self) -> None:
        """If a small threshold lets two through, neither was agreed on."""
        raw, newer = document(stamp=b"s" * 24), document(stamp=b"n" * 24, sequence=NOW * 1000 + 9)
        self.assertIsNone(self.stamp({"a": [raw], "b": [newer]}, threshold=1))

    def test_bits(self) -> None:
        """The parameter counts if it is a number of bits that a network may ask for."""
        values: list[tuple[Parameter, int]] = [(0, 0), (8, 8), (24, 24), (25, 0), (-1, 0), (True, 0), ("8", 0)]
        for value, bits in values:
            self.assertEqual(network([], parameters={STAMP_BITS: value}).stamp_bits, bits, value)
        self.assertEqual(network([]).stamp_bits, 0)


class ThresholdTests(SynchronousTestCase):
    def test_majority(self) -> None:
        """A majority is more than half."""
        self.assertEqual([majority(pools) for pools in range(1, 8)], [1, 2, 2, 3, 3, 4, 4])

    @given(
        st.integers(1, 5),
        st.integers(1, 5),
        st.lists(st.sets(st.integers(0, 4)), max_size=5),
    )
    def test_listed_by_enough(self, pools: int, threshold: int, contents: list[set[int]]) -> None:
        """Exactly the nodes that at least t pools list are used."""
        contents = contents[:pools]
        threshold = min(threshold, pools)
        netdir = merge(
            {pool: [document(node) for node in nodes] for pool, nodes in enumerate(contents)},
            pools=range(pools),
            threshold=threshold,
        )
        expected = {node for node in range(5) if sum(node in nodes for nodes in contents) >= threshold}
        self.assertEqual(names(netdir), {f"node{node}" for node in expected})
        self.assertEqual(
            (netdir.pools_used, netdir.threshold, netdir.listed), (len(contents), threshold, len(expected))
        )

    def test_default_is_a_majority_of_the_configured_pools(self) -> None:
        """A pool that does not answer still counts as one that does not list the node."""
        self.assertEqual(names(merge({"a": [document(1)]})), set())
        self.assertEqual(names(merge({"a": [document(1)], "b": [document(1)]})), {"node1"})

    def test_impossible_threshold(self) -> None:
        """A threshold must be possible to reach."""
        for threshold in (0, -1, 4):
            self.assertRaises(ConfigurationError, merge, {}, threshold=threshold)
        mirrors = [url("a", "127.0.0.1"), url("a", "127.0.0.2")]
        self.assertRaises(ConfigurationError, NetDir.merge, {}, mirrors, 2, NOW)

    def test_no_pools(self) -> None:
        """Without pools there are no nodes."""
        netdir = NetDir.merge({}, [], None, NOW)
        self.assertEqual((len(netdir.nodes), netdir.path_share(3)), (0, 0.0))

    def test_a_pool_has_one_vote(self) -> None:
        """Neither a duplicate entry nor a second URL gives a pool a second vote."""
        twice = {"a": [document(1), document(1), document(1, bandwidth=7)]}
        self.assertEqual(names(merge(twice)), set())
        mirror = url("a", "127.0.0.2")
        one = listing("a", [document(1)])
        urls = [url("a"), mirror, url("b"), url("c")]
        self.assertEqual(names(NetDir.merge({url("a"): one, mirror: one}, urls, None, NOW)), set())
        unpinned = PoolURL("127.0.0.3", 80, None)
        urls = [url("a"), unpinned, url("b"), url("c")]
        self.assertEqual(names(NetDir.merge({url("a"): one, unpinned: one}, urls, None, NOW)), set())

    def test_newest_of_mirrors(self) -> None:
        """Of two listings of one pool the newer one counts, whichever comes first."""
        first, second = url("a", "127.0.0.1"), url("a", "127.0.0.2")
        old, new = listing("a", [document(1)]), listing("a", [document(2)], sequence=NOW * 1000 + 1)
        for listings in ({first: old, second: new}, {first: new, second: old}):
            self.assertEqual(names(NetDir.merge(listings, [first, second], None, NOW)), {"node2"})

    def test_unpinned_pool(self) -> None:
        """A loopback pool without a key in its URL is the pool that its listing is from."""
        unpinned = PoolURL("127.0.0.1", 80, None)
        netdir = NetDir.merge({unpinned: listing("a", [document(1)])}, [unpinned], None, NOW)
        self.assertEqual(names(netdir), {"node1"})

    def test_listing_of_another_pool(self) -> None:
        """A listing under a URL with another key does not count."""
        self.assertEqual(names(NetDir.merge({url("a"): listing("b", [document(1)])}, [url("a")], None, NOW)), set())

    def test_listings_out_of_time(self) -> None:
        """A listing a day past its end, or from the future, does not count."""
        for now, expected in ((NOW - 301, 0), (NOW, 1), (NOW + 27 * 3600, 1), (NOW + 27 * 3600 + 1, 0)):
            self.assertEqual(len(merge({"a": [document(1)]}, pools=["a"], now=now).nodes), expected)


class DescriptorChoiceTests(SynchronousTestCase):
    def test_highest_sequence(self) -> None:
        """Of several descriptors the one with the highest sequence counts."""
        old, new = document(1, bandwidth=1), document(1, bandwidth=2, sequence=NOW * 1000 + 1)
        for contents in ({"a": [old], "b": [new]}, {"a": [new], "b": [old]}):
            chosen = merge(contents).get(node_id(1))
            self.assertEqual(chosen and chosen.bandwidth, 2)

    def test_equal_sequence(self) -> None:
        """Between equal sequences the bytes decide, the same way in whatever order the pools come."""
        documents = [[document(1, bandwidth=number)] for number in range(6)]
        views = []
        for turn in range(6):
            contents = dict(enumerate(documents[turn:] + documents[:turn]))
            views.append(merge(contents, pools=range(6), threshold=6))
        self.assertEqual(len({view.digest for view in views}), 1)
        self.assertEqual(len({view.get(node_id(1)) for view in views}), 1)

    def test_forged_descriptor_does_not_hide_the_real_one(self) -> None:
        """A pool that lists a forged newer descriptor gains nothing."""
        real, forged = document(1), forge(document(1, sequence=NOW * 1000 + 9, bandwidth=5))
        netdir = merge({"a": [forged], "b": [real]})
        self.assertEqual(netdir.get(node_id(1)), descriptor(1))
        self.assertEqual(netdir.path_share(3), 1)

    def test_forged_everywhere(self) -> None:
        """A node of which there are only forged descriptors is not there."""
        other = forge(document(1, sequence=NOW * 1000 + 9))
        netdir = merge({"a": [forge(document(1)), document(2)], "b": [other, document(2)]})
        self.assertEqual(len(netdir.nodes), 2)
        self.assertIsNone(netdir.get(node_id(1)))
        self.assertEqual(list(netdir.nodes), [node_id(2)])
        self.assertNotIn(node_id(1), netdir.nodes)
        self.assertEqual((len(netdir.nodes), netdir.listed, netdir.path_share(1)), (1, 2, 0.5))

    def test_unknown_node(self) -> None:
        """A node that is not listed is not there."""
        self.assertIsNone(merge({}).get(node_id(1)))

    def test_malformed_document(self) -> None:
        """A malformed document costs only itself."""
        netdir = network([b"", bytes(100), document(1)])
        self.assertEqual(names(netdir), {"node1"})

    def test_times(self) -> None:
        """A descriptor that is too old or from the future is not used; an older one is used in its place."""
        netdir = network([document(1, published=NOW - 49 * 3600), document(2)])
        self.assertEqual((names(netdir), netdir.listed), ({"node2"}, 2))
        future = document(1, sequence=(NOW + 13 * 3600) * 1000)
        self.assertEqual(merge({"a": [future], "b": [document(1)]}).get(node_id(1)), descriptor(1))

    def test_other_protocols(self) -> None:
        """A node that does not speak TPDP/1 is not used."""
        netdir = network([document(1, protocols=(2, 3)), document(2, protocols=(1, 2))])
        self.assertEqual((names(netdir), netdir.listed, netdir.foreign), ({"node2"}, 1, 1))
        self.assertIn("1 more speak only other versions", netdir.left_out)
        one_pool_of_three = merge({"a": [document(1, protocols=(2,))], "b": [document(2)], "c": [document(2)]})
        self.assertEqual((one_pool_of_three.foreign, one_pool_of_three.left_out), (0, ""))

    def test_nothing_is_opened_before_it_is_used(self) -> None:
        """Merging opens no descriptor, and looking one up opens that one."""
        netdir = network([document(name) for name in range(9)])
        netdir.get(node_id(3))
        opened = [one.body.nickname for one in netdir.documents().values() if one._descriptor is not None]
        self.assertEqual(opened, ["node3"])

    def test_what_was_checked_is_not_checked_again(self) -> None:
        """The next view takes over the opened descriptors of the last one."""
        before = network([document(1), document(2)])
        opened = before.get(node_id(1))
        after = NetDir.merge(
            {url(): listing(documents=[document(1), document(3)])}, [url()], None, NOW, previous=before
        )
        self.assertIs(after.get(node_id(1)), opened)
        self.assertEqual(names(after), {"node1", "node3"})


class ParameterTests(SynchronousTestCase):
    def parameters(self, *values: Mapping[str, Parameter], threshold: int | None = None) -> Mapping[str, Parameter]:
        urls = [url(number) for number in range(3)]
        listings: dict[PoolURL, Listing] = {
            url(number): listing(number, parameters=value) for number, value in enumerate(values)
        }
        return NetDir.merge(listings, urls, threshold, NOW).parameters

    def test_same_value(self) -> None:
        """A parameter counts if enough pools give the same value."""
        self.assertEqual(self.parameters({"x": 1, "y": "a"}, {"x": 1, "y": "b"}, {"x": 2, "z": 1}), {"x": 1})

    def test_same_type(self) -> None:
        """True is not 1."""
        self.assertEqual(self.parameters({"x": True}, {"x": 1}), {})

    def test_two_agreements(self) -> None:
        """With a threshold of one, two values are no agreement."""
        self.assertEqual(self.parameters({"x": 1, "y": 3}, {"x": 2}, threshold=1), {"y": 3})


class TestNetworkTests(SynchronousTestCase):
    TEST = {"test-network": True}

    def test_on(self) -> None:
        """With local pools that agree, private addresses are listed."""
        loopback = document(1, address=Address.parse("127.0.0.1", 6000))
        netdir = merge({"a": [loopback], "b": [loopback]}, parameters=self.TEST)
        self.assertTrue(netdir.test_network)
        self.assertEqual(names(netdir), {"node1"})

    def test_pools_must_agree(self) -> None:
        """One pool of three cannot turn it on."""
        urls = [url(pool) for pool in "abc"]
        listings = {
            urls[0]: listing("a", parameters=self.TEST),
            urls[1]: listing("b", parameters={"test-network": False}),
            urls[2]: listing("c", parameters={"test-network": 1}),
        }
        self.assertFalse(NetDir.merge(listings, urls, None, NOW).test_network)

    def test_public_pool(self) -> None:
        """It never counts if one configured pool is not local, even one that does not answer."""
        self.assertFalse(merge({"a": [], "b": []}, parameters=self.TEST, host="8.8.8.8").test_network)
        urls = [url("a"), url("b"), url("c", "8.8.8.8")]
        listings = {one: listing(pool, parameters=self.TEST) for one, pool in zip(urls, "ab", strict=False)}
        self.assertFalse(NetDir.merge(listings, urls, None, NOW).test_network)

    def test_private_addresses_are_dropped_elsewhere(self) -> None:
        """Outside a test network a node with a private address is as if it were not listed."""
        netdir = network([document(1, address=Address.parse("10.0.0.1", 6000)), document(2)])
        self.assertEqual((names(netdir), netdir.listed), ({"node2"}, 1))


class WeightTests(SynchronousTestCase):
    def weights(self, netdir: NetDir) -> dict[str, int]:
        return {node.best.body.nickname: node.weight for node in netdir.nodes.listed.values()}

    def test_claims_are_capped(self) -> None:
        """Whoever claims a thousand times more weighs one and a half times the median."""
        claims = [1000, 1000, 1000, 500, 1_000_000]
        netdir = network([document(name, bandwidth=claim) for name, claim in enumerate(claims)])
        expected = {"node0": 1000, "node1": 1000, "node2": 1000, "node3": 500, "node4": 1500}
        self.assertEqual(self.weights(netdir), expected)

    def test_nobody_weighs_nothing(self) -> None:
        """A node that claims nothing can still be chosen."""
        self.assertEqual(self.weights(network([document(1, bandwidth=0)])), {"node1": 1})

    def test_measured(self) -> None:
        """What at least t pools measured counts instead of the claim: the t-th highest."""
        urls = [url(pool) for pool in "abc"]
        documents = [document(name, bandwidth=10) for name in range(3)]
        measures = {"a": (50, 90, 0), "b": (70, 0, 0), "c": (60, 0, 99)}
        listings = {
            url(pool): attrs.evolve(
                listing(pool),
                entries=tuple(ListingEntry(raw, NOW, value) for raw, value in zip(documents, values, strict=True)),
            )
            for pool, values in measures.items()
        }
        netdir = NetDir.merge(listings, urls, None, NOW)
        self.assertEqual(self.weights(netdir), {"node0": 60, "node1": 10, "node2": 10})

    def test_forged_claim_takes_no_weight_away(self) -> None:
        """A forged descriptor that claims nothing leaves the weight of the real one."""
        forged = forge(document(1, bandwidth=0, sequence=NOW * 1000 + 1))
        netdir = merge({"a": [forged], "b": [document(1, bandwidth=10)]})
        self.assertEqual(self.weights(netdir), {"node1": 10})


class ExitTests(SynchronousTestCase):
    def exits(self, port: int, *policies: str) -> set[str]:
        """The exits for *port* where each pool has a newer descriptor of node 1, with another policy."""
        documents = [document(1, policy=each, sequence=NOW * 1000 + number) for number, each in enumerate(policies)]
        netdir = merge({pool: [made, document(2)] for pool, made in enumerate(documents)}, pools=range(len(policies)))
        return {node.best.body.nickname for node in netdir.exits_for(Destination(port)).nodes}

    def test_policies_that_differ(self) -> None:
        """A node of which pools know different policies is an exit for what its best descriptor opens, and no more."""
        for old in ("", "accept *:80"):
            self.assertEqual(self.exits(443, old, "accept *:443"), {"node1"})
            self.assertEqual(self.exits(80, old, "accept *:443"), set())
        self.assertEqual(self.exits(443, "accept *:443", ""), set())

    def test_forged_policy(self) -> None:
        """A pool cannot take an exit away with a forged descriptor that says it is none."""
        forged = forge(document(1, sequence=NOW * 1000 + 1))
        netdir = merge({"a": [forged], "b": [document(1, policy=OPEN)]})
        self.assertEqual([node.raw_id for node in netdir.exits_for(Destination(443)).nodes], [node_id(1).raw])


class DigestTests(SynchronousTestCase):
    def test_names_the_set(self) -> None:
        """The digest does not depend on order, and changes with any descriptor and with the kind of network."""
        documents = [document(1), document(2)]
        digest = network(documents).digest
        self.assertEqual(network(documents[::-1]).digest, digest)
        self.assertEqual(merge({"a": documents, "b": documents}).digest, digest)
        self.assertNotEqual(network([document(1), document(2, bandwidth=9)]).digest, digest)
        self.assertNotEqual(network(documents[:1]).digest, digest)
        self.assertNotEqual(network(documents, parameters={"test-network": True}).digest, digest)


class SameTests(SynchronousTestCase):
    def test_who_needs_the_new_view(self) -> None:
        """Everybody, if nodes, parameters, or what pools list has changed; nobody, if only the listing is newer."""
        nodes = [document(name) for name in range(4)]
        view = merge({"a": nodes, "b": nodes, "c": nodes})
        self.assertTrue(merge({"a": nodes, "b": nodes, "c": nodes}, sequence=NOW * 1000 + 1).says_the_same(view))
        for other in (
            merge({"a": nodes[:3], "b": nodes[:3], "c": nodes[:3]}),
            merge({"a": nodes, "b": nodes, "c": nodes[:3]}),
            merge({"a": nodes, "b": nodes}),
            merge({"a": nodes, "b": nodes, "c": nodes}, parameters={"more": 1}),
        ):
            self.assertFalse(other.says_the_same(view))


class HostileDocumentTests(SynchronousTestCase):
    def test_broken(self) -> None:
        """A document that breaks what reads it is as good as refused; who asks is told of it once (SECURITY N7)."""
        netdir = network([document(1), document(2)])
        bad = netdir.nodes.listed[node_id(1).raw].documents[0]
        bad.body = msgspec.structs.replace(bad.body, family=5)
        self.assertIsNone(netdir.get(node_id(1)))
        self.assertIsNone(netdir.get(node_id(1)))
        ((raw_id, error),) = netdir.nodes.take_broken()
        self.assertEqual((raw_id, type(error)), (node_id(1).raw, TypeError))
        self.assertEqual(netdir.nodes.take_broken(), [])
        self.assertEqual(list(netdir.nodes), [node_id(2)])

    def test_bad_policy_in_a_signed_body(self) -> None:
        """A policy that does not parse is closed while it is unchecked, and refused when it is checked."""
        values = fields(document(1, policy=OPEN))
        values[5] = "nonsense"
        netdir = network([resign(values, key(1), Purpose.DESCRIPTOR)])
        self.assertEqual(len(netdir.exits.nodes), 1)
        self.assertIsNone(netdir.get(node_id(1)))
