"""Tests of torpydo.cli.bench.circuits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.circuits import at_once, one_by_one, warm_up
from torpydo.client import Client
from torpydo.crypto import NodeId, SigningKey
from torpydo.errors import CircuitError, PathError

NAMES = [SigningKey(bytes([number]) * 32).node_id for number in range(4)]


PATHS = [(NAMES[0], NAMES[1], NAMES[2]), (NAMES[0], NAMES[2], NAMES[3])]


@attrs.frozen
class Hop:
    """One node of a path."""

    node_id: NodeId


class BuiltCircuit:
    """A circuit that can only be closed."""

    def __init__(self, path: Sequence[NodeId]) -> None:
        self.path = [Hop(node_id) for node_id in path]
        self.closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


class BuildingClient:
    """A client whose circuits are built when a test says so."""

    def __init__(self) -> None:
        self.building: list[Deferred[BuiltCircuit]] = []
        self.circuits: list[BuiltCircuit] = []
        self.asked: list[Sequence[NodeId] | None] = []

    def build_circuit(self, hops: int, path: Sequence[NodeId] | None = None) -> Deferred[BuiltCircuit]:
        """Wait for :meth:`built`."""
        self.asked.append(path)
        self.building.append(Deferred())
        return self.building[-1]

    def built(self, *path: NodeId) -> None:
        """The oldest is built, along *path* if it was to be chosen."""
        self.circuits.append(BuiltCircuit(path))
        self.building.pop(0).callback(self.circuits[-1])


class BuildingTests(SynchronousTestCase):
    """Building circuits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = BuildingClient()

    def start(self, measure: Any, count: int) -> Deferred[Any]:
        """Build *count* circuits."""
        return Deferred.fromCoroutine(measure(self.clock, cast(Client, self.client), count, PATHS))

    def test_the_paths_of_the_warm_up_are_used_again(self) -> None:
        """They are the ones whose links are open; each counts once, however often the client has chosen it."""
        paths = Deferred.fromCoroutine(warm_up(cast(Client, self.client), 3))
        for path in (PATHS[0], PATHS[1], PATHS[0]):
            self.client.built(*path)
        self.assertEqual(self.client.asked, [None, None, None])
        self.assertEqual(self.successResultOf(paths), PATHS)
        self.assertTrue(all(circuit.closed for circuit in self.client.circuits))

    def test_one_after_the_other(self) -> None:
        """Each is asked for when the last is there, and closed."""
        times = self.start(one_by_one, 2)
        for seconds in (0.5, 0.25):
            self.assertEqual(len(self.client.building), 1)
            self.clock.advance(seconds)
            self.client.built()
        self.assertEqual(self.successResultOf(times), [0.5, 0.25])
        self.assertEqual(self.client.asked, PATHS)
        self.assertTrue(all(circuit.closed for circuit in self.client.circuits))

    def test_all_at_once(self) -> None:
        """The time until the last one counts."""
        rate = self.start(at_once, 4)
        self.clock.advance(1.0)
        for _ in range(3):
            self.client.built()
        self.clock.advance(1.0)
        self.assertNoResult(rate)
        self.client.built()
        self.assertEqual(self.successResultOf(rate), 2.0)
        self.assertEqual(self.client.asked, [*PATHS, *PATHS])
        self.assertTrue(all(circuit.closed for circuit in self.client.circuits))

    def test_one_fails(self) -> None:
        """A rate without the circuits that failed would be none; the others are closed all the same."""
        rate = self.start(at_once, 2)
        self.client.built()
        self.client.building.pop().errback(PathError("no path"))
        error = self.failureResultOf(rate, CircuitError).value
        self.assertEqual(str(error), "1 of 2 circuits were not built: no path")
        self.assertTrue(self.client.circuits[0].closed)
