"""How long a circuit may take to be built (SECURITY H9)."""

from __future__ import annotations

from typing import cast

from tests.network.base import NetworkTestCase
from torpydo.client import Circuit, Client, ClientLimits
from torpydo.errors import CircuitBuildError
from torpydo.testing.ways import Conditions


class DeadlineTests(NetworkTestCase):
    """Three hops over links that are open already."""

    def setUp(self) -> None:
        network = self.start(nodes=3, latency=0.01)
        first = cast(Circuit, network.success(network.client.build_circuit(3)))
        self.path = [descriptor.node_id for descriptor in first.path]

    def build(self, seconds: float, client: Client | None = None) -> list[object]:
        """A circuit, and what became of it after so many seconds."""
        outcome: list[object] = []
        building = (client or self.network.client).build_circuit(path=self.path)
        building.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        self.network.advance(seconds)
        return outcome

    def test_a_hop_that_does_not_answer(self) -> None:
        """It has ten seconds, and is named."""
        second = next(node for node in self.network.nodes if node.node_id == self.path[1])
        self.network.partition(second)
        outcome = self.build(9.9)
        self.assertEqual(outcome, [])
        self.network.advance(0.2)
        [error] = outcome
        assert isinstance(error, CircuitBuildError)
        self.assertEqual((error.hop, error.why), (2, "no answer within 10 s"))

    def test_a_hop_that_is_gone(self) -> None:
        """The second is blamed when the third is being asked, which has nothing to do with it; the guard is not."""
        for dead, seconds in ((1, 0.09), (0, 0.04)):
            outcome = self.build(seconds)
            self.assertEqual(outcome, [])
            self.network.kill(next(node for node in self.network.nodes if node.node_id == self.path[dead]))
            self.network.advance(1)
            [error] = outcome
            assert isinstance(error, CircuitBuildError)
            self.assertEqual(error.hop, 2, error)

    def test_each_hop_has_its_own_time(self) -> None:
        """All of them together may take longer than one."""
        self.network.internet.ways.set(Conditions(latency=1.4))
        outcome = self.build(16.0)
        self.assertEqual(outcome, [])
        self.network.advance(2.0)
        self.assertIsInstance(outcome[0], Circuit)
        self.network.internet.ways.set(Conditions(latency=0.01))

    def test_all_hops_together(self) -> None:
        """However well each of them answers."""
        client = self.network.success(self.network.add_client(limits=ClientLimits(circuit_build=5.0)))
        self.network.success(client.build_circuit(path=self.path))
        self.network.internet.ways.set(Conditions(latency=1.0))
        outcome = self.build(4.9, client)
        self.assertEqual(outcome, [])
        self.network.advance(0.2)
        [error] = outcome
        assert isinstance(error, CircuitBuildError)
        self.assertEqual(error.why, "no answer within 5 s")
        self.network.internet.ways.set(Conditions(latency=0.01))
        self.network.advance(10)
