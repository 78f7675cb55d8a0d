"""How the work of a client grows with what waits (SECURITY D7): function calls are counted, not seconds."""

from __future__ import annotations

from tests.client.doubles import want
from tests.client.test_circuitpool import PoolTestCase
from tests.directory.test_scale import FEW, LINEAR, MORE, calls


class GrowthTests(PoolTestCase):
    """Streams that wait for circuits, and four times as many."""

    def ask(self, count: int, users: int) -> None:
        """So many streams of so many users, who have no circuit yet."""
        for number in range(count):
            self.pool_.use(want(isolation=number % users)).addErrback(lambda failure: None)

    def begin(self, count: int, users: int) -> None:
        """A new pool in which so many wait."""
        self.pool_ = self.pool()
        self.pool_.work()
        self.ask(count, users)
        self.addCleanup(self.pool_.close)

    def test_one_more(self) -> None:
        """Whoever comes is looked at, and not all those who came before."""
        counts = []
        for waiting in (FEW, FEW * MORE):
            self.begin(waiting, users=waiting)
            # Twisted's clock sorts all calls that are due, which a reactor does not.
            counts.append(calls(lambda: self.ask(1, 1), "torpydo."))
        self.assertEqual(counts[0], counts[1])

    def test_all(self) -> None:
        """A look at all of them is a look at each user."""
        counts = []
        for waiting in (FEW, FEW * MORE):
            self.begin(waiting, users=10)
            counts.append(calls(self.pool_.work, "torpydo."))
        self.assertLessEqual(counts[1] / counts[0], LINEAR)
