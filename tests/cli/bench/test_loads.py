"""Tests of torpydo.cli.bench.loads: what needs no network."""

from __future__ import annotations

import socket
import time
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.bulk import Extent
from torpydo.cli.bench.dialing import Dialer
from torpydo.cli.bench.loads import CLOSED, LOADS, Load, Settings
from torpydo.cli.bench.marks import Marks
from torpydo.errors import StreamFailed

MB = 1_000_000


class RefusingDialer:
    """Notes for whom it was to connect, and does not."""

    def __init__(self) -> None:
        self.users: list[str] = []

    def dial(self, user: str) -> socket.socket:
        """Fail."""
        self.users.append(user)
        raise StreamFailed("no connection")


class WillingDialer(RefusingDialer):
    """Reaches a destination that closes every connection in order."""

    def approach(self, user: str) -> socket.socket:
        """Connect."""
        self.users.append(user)
        near, far = socket.socketpair()
        far.close()
        return near

    def request(self, connection: socket.socket) -> None:
        """It is there at once."""


def load(dialer: RefusingDialer | None = None, *, seconds: float = 8.0, run: int = 0) -> Load:
    """One run."""
    settings = Settings(Extent(seconds, 10**12), 3, 3, 0.0)
    return Load(cast(Dialer, dialer or RefusingDialer()), settings, run)


class CircuitTests(SynchronousTestCase):
    """Which circuits a load uses."""

    def first_user(self, name: str, run: int = 0) -> str:
        """The name that the load gives to its first circuit."""
        dialer = RefusingDialer()
        self.assertRaises(StreamFailed, LOADS[name], load(dialer, run=run))
        return dialer.users[0]

    def test_streams_are_opened_on_a_circuit_of_their_own(self) -> None:
        """None that another load has used."""
        others = {self.first_user(name) for name in ("download", "rtt", "rtt_loaded")}
        self.assertNotIn(self.first_user("open_stream"), others)

    def test_each_run_has_its_own(self) -> None:
        """A circuit that has carried a run is not used in the next."""
        for name in ("download", "rtt", "rtt_loaded", "open_stream"):
            self.assertNotEqual(self.first_user(name, 0), self.first_user(name, 1))

    def test_new_users_are_new(self) -> None:
        """Each has a name of its own, in every run."""
        slept: list[float] = []
        self.patch(time, "sleep", slept.append)
        dialer = WillingDialer()
        for run in (0, 1):
            self.assertGreaterEqual(LOADS["new_user"](load(dialer, run=run))["new_user"], 0.0)
        self.assertEqual((len(dialer.users), len(set(dialer.users))), (6, 6))
        self.assertEqual(slept, [CLOSED] * 6)


class BulkTests(SynchronousTestCase):
    """The figures of one transfer."""

    def test_all_of_it_and_what_comes_later(self) -> None:
        """A transfer that needs three seconds for its speed has two figures, and each of its seconds."""
        marks = Marks(0.0)
        marks.add(3 * MB, 3.0)
        for number in range(1, 50):
            marks.add(MB, 3.0 + number / 10)
        one = load()
        samples = one.bulk("download", marks)
        self.assertAlmostEqual(samples["download"], 52 / 8)
        self.assertAlmostEqual(samples["download_3s"], 49 / 5)
        self.assertEqual([round(rate) for rate in one.seconds["download"]], [1, 1, 1, 10, 10, 10, 10, 9])

    def test_a_short_one_has_no_later(self) -> None:
        """Nothing comes after three seconds."""
        marks = Marks(0.0)
        marks.add(MB, 0.5)
        self.assertEqual(set(load(seconds=3.0).bulk("upload", marks)), {"upload"})
