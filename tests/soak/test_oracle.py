"""Tests of tests.soak.oracle."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.oracle import waiting


class WaitingTests(SynchronousTestCase):
    """What must be gone a minute after a fault."""

    def client(self, streams: int = 0, queued: int = 0) -> dict[str, Any]:
        """What a client shows."""
        return {"circuits": [{"streams": 0}, {"streams": streams}], "pending": 2, "queued": queued}

    def node(self, streams: int = 0, queued: int = 0, pending: int = 0) -> dict[str, Any]:
        """What a node shows."""
        return {"links": 9, "circuits": 40, "streams": streams, "queued": queued, "pending": pending}

    def test_nothing(self) -> None:
        """Idle circuits and links may stay, and a client may build some ahead."""
        self.assertEqual([waiting("x", status) for status in (self.client(), self.node())], [[], []])

    def test_something(self) -> None:
        """A stream, a byte, an unfinished link: each is said."""
        for status in (
            self.client(streams=1), self.client(queued=1), self.node(streams=1), self.node(queued=1),
            self.node(pending=1),
        ):  # fmt: skip
            self.assertEqual(len(waiting("x", status)), 1)

    def test_silence(self) -> None:
        """Who does not answer is not idle."""
        self.assertEqual(waiting("node1", {}), ["node1 does not answer"])
