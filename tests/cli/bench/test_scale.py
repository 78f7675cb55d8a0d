"""Tests of torpydo.cli.bench.scale and what it measures with: what needs no network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.scale import ScalePlan
from torpydo.cli.bench.scaledirectory import measure
from torpydo.cli.bench.scalelines import SCALE_GOALS, SCALE_GROUPS, SCALE_KEYS
from torpydo.cli.bench.scalemembers import make_members
from torpydo.crypto import SigningKey
from torpydo.directory import parse_heartbeat

NOW = 1_800_000_000


class ScaleLinesTests(SynchronousTestCase):
    """The lines."""

    def test_every_line_is_in_one_group(self) -> None:
        """So that each is measured, and once."""
        self.assertEqual([key for keys in SCALE_GROUPS.values() for key in keys], list(SCALE_KEYS))

    def test_every_goal_has_a_line(self) -> None:
        """No goal is asked of nothing."""
        self.assertEqual({goal.key for goal in SCALE_GOALS} - set(SCALE_KEYS), set())

    def test_a_plan_wants_the_groups_of_its_keys(self) -> None:
        """One line of a group is enough."""
        plan = ScalePlan.short(["scale_path"])
        self.assertEqual([group for group in SCALE_GROUPS if plan.wants(group)], ["listing"])


class MembersTests(SynchronousTestCase):
    """Nodes that are only documents."""

    def test_a_pool_would_take_their_heartbeats(self) -> None:
        """They are signed for that pool, by that node."""
        pool = SigningKey(bytes(32)).pool_id
        (member,) = make_members(1, NOW, port=6000, public=False)
        heartbeat = parse_heartbeat(member.heartbeat(pool, NOW * 1000 + 1), pool, NOW)
        self.assertEqual(heartbeat.time_ms, NOW * 1000 + 1)
        self.assertEqual(heartbeat.descriptor.address.host, member.host)

    def test_each_has_an_address_of_its_own_on_this_machine(self) -> None:
        """That is how the one listener knows who is meant."""
        hosts = {member.host for member in make_members(300, NOW, port=6000, public=False)}
        self.assertEqual(len(hosts), 300)
        self.assertEqual({host.split(".")[0] for host in hosts}, {"127"})


class ListingTests(SynchronousTestCase):
    """Measuring a listing."""

    def test_there_is_a_sample_for_each_run_and_path(self) -> None:
        """For every number of nodes."""
        found = measure([20, 40], 2, 3)
        counts = {size: (len(one["ready"]), len(one["path"])) for size, one in found.items()}
        self.assertEqual(counts, {"20": (2, 3), "40": (2, 3)})
