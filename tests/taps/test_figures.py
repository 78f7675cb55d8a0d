"""Tests of torpydo.taps.figures and torpydo.taps.servicefigures."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.client import CircuitStatus, ClientStatus, PoolStatus
from torpydo.node import NodeReport, NodeStatus, PoolStanding
from torpydo.pool import IndexStatus
from torpydo.taps.figures import COUNT_STEP, DELAY, SIZE_STEP, Delayed, Figure, count, gauge, numbered, refused
from torpydo.taps.servicefigures import client_figures, host_figures, node_figures, pool_figures

SECRETS = ("alpha", "bravo", "charlie", "delta", "192.0.2.7", "pool.example.org", "echo")
"""Nicknames, ids, addresses and reasons, each of which would say who or where somebody is."""

NODE = NodeStatus(
    links=3, circuits=41, streams=9, queued=3 * SIZE_STEP + 1, pending=2, files=20, files_most=1024,
    received=10 * SIZE_STEP - 1, sent=SIZE_STEP, handshakes=17, circuits_made=8,
    refused={"links_per_host": 5, "files": 0},
)  # fmt: skip
REPORT = NodeReport(
    node_id="alpha", nickname="bravo", address="192.0.2.7:6000", exit_policy="reject *:*", onion_key_age=86_400.0,
    descriptor_age=60.0, listed_by=1, nodes=12, listing_digest="charlie", test_network=False,
    pools=(
        PoolStanding("pool.example.org:80", True, 3.0, None, None, 30.5),
        PoolStanding("pool.example.org:81", False, None, "delta", "echo", None),
        PoolStanding("pool.example.org:82", None, None, "delta", None, 90.0),
    ),
)  # fmt: skip
CLIENT = ClientStatus(
    percent=75, tag="circuit", summary="alpha", ready=False, reason="bravo", nodes=5, guard="charlie", pending=1,
    pools=(PoolStatus("http://pool.example.org/#key", 12.0, None), PoolStatus("http://192.0.2.7/#key", None, "delta")),
    circuits=tuple(CircuitStatus(("alpha", "bravo"), 3, 1.0, False, None) for _ in range(9)),
    listing_digest="echo", skew=-3.5, test_network=False, warnings=("delta",), queued=2 * SIZE_STEP,
    refused={"memory": 4},
)  # fmt: skip
POOL = IndexStatus(
    listed=5, known=7, pending=2, probes=1, heartbeats=40, connections=3, listing_sequence=1_800_000_000_000,
    listing_age=9.5, listing_bytes=2000, database_bytes=4096, refused={"nodes": 1},
)  # fmt: skip


def values(figures: Iterable[Figure]) -> dict[str, object]:
    """The value of each name."""
    return {figure.name: figure.value for figure in figures}


class StepTests(SynchronousTestCase):
    """Rounding."""

    def test_down_to_a_multiple(self) -> None:
        """One more or less is not seen; nothing is told that has not happened."""
        for value, told in ((0, 0), (7, 0), (8, 8), (15, 8), (16, 16)):
            self.assertEqual(gauge("x", "", value, step=COUNT_STEP).rounded().value, told)
        self.assertEqual(count("x", "", 5 * SIZE_STEP - 1, step=SIZE_STEP).rounded().value, 4 * SIZE_STEP)

    def test_each_label(self) -> None:
        """Numbers by label are rounded one by one."""
        figure = attrs.evolve(numbered("x", "", [9, None, 16]), step=8)
        self.assertEqual(figure.rounded().value, {"1": 8, "3": 16})

    def test_without_a_step(self) -> None:
        """What is not about people is told as it is."""
        self.assertEqual(gauge("x", "", 7).rounded().value, 7)


class DelayedTests(SynchronousTestCase):
    """Figures that are told late (SECURITY I3)."""

    def setUp(self) -> None:
        self.reactor = Clock()
        self.broken = False
        self.delayed = Delayed(self.reactor, self.take)
        self.delayed.start()

    def take(self) -> list[Figure]:
        """The time, so that a figure tells its age."""
        if self.broken:
            raise ValueError("nothing to be had")
        return [gauge("when", "", self.reactor.seconds(), step=1), gauge("live", "", 1.0)]

    def test_every_figure_is_ten_to_twenty_minutes_old(self) -> None:
        """At no moment is there a younger one, and after the first ten minutes always one."""
        for _ in range(400):
            self.reactor.advance(17.0)
            told = self.delayed.figures
            if self.reactor.seconds() < DELAY:
                self.assertEqual(told, [])
            else:
                age = self.reactor.seconds() - values(told)["when"]
                self.assertTrue(DELAY <= age < 2 * (DELAY + 17), age)

    def test_only_those_with_a_step(self) -> None:
        """The others are told as they are, by somebody else."""
        self.reactor.pump([DELAY, DELAY])
        self.assertEqual([figure.name for figure in self.delayed.figures], ["when"])

    def test_a_failure_is_not_the_end(self) -> None:
        """What is there is not told for ever, and the figures come back."""
        self.reactor.pump([DELAY, DELAY])
        self.broken = True
        self.reactor.advance(DELAY)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.broken = False
        self.reactor.advance(DELAY)
        self.assertEqual(self.delayed.figures, [])
        self.reactor.pump([DELAY, DELAY])
        self.assertEqual(len(self.delayed.figures), 1)

    def test_nothing_is_left_after_the_end(self) -> None:
        """Neither timers nor figures."""
        self.reactor.pump([DELAY, DELAY])
        self.delayed.stop()
        self.delayed.stop()
        self.assertEqual((self.reactor.getDelayedCalls(), self.delayed.figures), ([], []))


class RefusedTests(SynchronousTestCase):
    """Refusals by cause."""

    def test_what_never_happened_is_told_too(self) -> None:
        """An alarm needs the 0 before the 1."""
        self.assertEqual(refused({"files": 0, "links": 2}).value, {"files": 0, "links": 2})

    def test_the_same_cause_in_two_parts(self) -> None:
        """One name is one number."""
        self.assertEqual(refused({"files": 1}, {"files": 2, "silence": 0}).value, {"files": 3, "silence": 0})


class ServiceTests(SynchronousTestCase):
    """What node and client tell."""

    def test_a_node(self) -> None:
        """Each figure is where it belongs, pools by their number."""
        told = values(node_figures(NODE, REPORT))
        self.assertEqual((told["links"], told["links_pending"], told["nodes"]), (3, 2, 12))
        self.assertEqual((told["files"], told["files_most"]), (20, 1024))
        self.assertEqual(told["refused"], {"links_per_host": 5, "files": 0})
        self.assertEqual(told["listed"], {"1": 1.0, "2": 0.0})
        self.assertEqual(told["listing_age_seconds"], {"1": 30.5, "3": 90.0})
        self.assertEqual(told["onion_key_age_seconds"], 86_400.0)

    def test_a_node_that_does_not_run(self) -> None:
        """It has counts, which are zero."""
        self.assertEqual(values(node_figures(NodeStatus(0, 0, 0, 0), None))["links"], 0)

    def test_a_client(self) -> None:
        """Its streams are those of all circuits."""
        told = values(client_figures(CLIENT, {"files": 1}))
        self.assertEqual((told["ready"], told["bootstrap_ratio"], told["clock_skew_seconds"]), (0.0, 0.75, -3.5))
        self.assertEqual((told["circuits"], told["streams"], told["warnings"]), (9, 27, 1))
        self.assertEqual(told["listing_age_seconds"], {"1": 12.0})
        self.assertEqual(told["refused"], {"files": 1, "memory": 4})
        self.assertEqual(values(client_figures(None, {})), {"refused": {}})

    def test_a_pool(self) -> None:
        """Its counts, none of them late: nodes are public, and who asks is not told at all."""
        figures = {figure.name: figure for figure in pool_figures(POOL)}
        self.assertEqual((figures["nodes_listed"].value, figures["heartbeats"].value), (5, 40))
        self.assertEqual((figures["listing_age_seconds"].value, figures["refused"].value), (9.5, {"nodes": 1}))
        self.assertTrue(figures["heartbeats"].counts and figures["refused"].counts)
        self.assertEqual({figure.step for figure in figures.values()}, {None})
        never = pool_figures(attrs.evolve(POOL, listing_age=None))
        self.assertNotIn("listing_age_seconds", values(never))
        self.assertEqual(list(pool_figures(None)), [])

    def test_an_onion_service(self) -> None:
        """Whether it can be found is worth an alarm, so it is told as it is."""
        figures = list(host_figures(reachable=True, introduction_points=3))
        self.assertEqual(values(figures), {"reachable": 1.0, "introduction_points": 3})
        self.assertEqual({figure.step for figure in figures}, {None})
        self.assertEqual(values(host_figures(reachable=False, introduction_points=0))["reachable"], 0.0)

    def test_what_people_do_is_late_and_rounded(self) -> None:
        """Traffic is never told as it is."""
        for figures in (node_figures(NODE, REPORT), client_figures(CLIENT, {})):
            for figure in figures:
                about_people = re.search("bytes|circuits|streams|handshakes", figure.name) is not None
                self.assertEqual(figure.step is not None, about_people, figure.name)

    def test_nobody_is_named(self) -> None:
        """No value and no label is a name, an address, a key or a reason (SECURITY I3)."""
        for figures in (node_figures(NODE, REPORT), client_figures(CLIENT, {"files": 1})):
            for figure in figures:
                labels = list(figure.value) if not isinstance(figure.value, float | int) else []
                self.assertFalse(set(labels) & set(SECRETS))
                self.assertTrue(all(re.fullmatch(r"[0-9]+|[a-z_]+", label) for label in labels), labels)
                self.assertIn(figure.label, ("", "pool", "cause"))
                self.assertFalse(any(secret in f"{figure.words} {figure.name}" for secret in SECRETS))
