"""What the core tells its owner shows neither data nor destinations when it is printed (SECURITY I1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.tpdp import (
    Address,
    EndEvent,
    Mine,
    ResolveRequested,
    StreamConnected,
    StreamData,
    StreamRequested,
    StreamResolved,
)


class ReprTests(SynchronousTestCase):
    """A traceback may have any event in it."""

    def test_nothing_of_a_stream(self) -> None:
        """It says which event of which stream it is, and no more."""
        target = Address.parse("192.0.2.77", 47111)
        events: list[EndEvent] = [
            StreamRequested(9, "target.example", 47111),
            ResolveRequested(9, "target.example"),
            StreamConnected(9, target, 60),
            StreamResolved(9, ((target.ip, 60),)),
            StreamData(9, [b"what alice says"]),
        ]
        for event in events:
            self.assertIn(f"{type(event).__name__}(stream=9", repr(event))
        shown = repr(Mine(events))
        for secret in ("target.example", "47111", "192.0.2.77", repr(target.ip)[2:-1], "alice"):
            self.assertNotIn(secret, shown)
