"""What the two entry points for cells have in common: the owner of an end, who keeps to the rules. Called by cells."""

from __future__ import annotations

import attrs

from torpydo.testing.fuzz.cursor import Cursor
from torpydo.testing.fuzz.target import require
from torpydo.tpdp import CircuitEnd, EndEvent, EndReason, StreamData, StreamEnded

__all__ = ["Owner"]

REASONS = tuple(EndReason)
TIMES = (0.0, 0.001, 0.02, 0.1, 1.0, 10.0, 100.0, -1.0)
"""Seconds that may pass between two lines of a script; a clock may be set back."""


@attrs.define(eq=False)
class Owner:
    """Does with streams what an adapter does, as a script wants it.

    :ivar now: the time
    :ivar asked: streams whose other end waits for an answer
    :ivar lookups: the same, where the answer is an address
    :ivar writable: streams that data may still be sent on
    :ivar closed: streams whose writing half was closed
    """

    end: CircuitEnd
    now: float = 0.0
    asked: list[int] = attrs.field(factory=list)
    lookups: list[int] = attrs.field(factory=list)
    writable: list[int] = attrs.field(factory=list)
    closed: list[int] = attrs.field(factory=list)
    _waiting: dict[int, int] = attrs.field(factory=dict)

    def hear(self, events: list[EndEvent]) -> None:
        """Note what the end tells."""
        for event in events:
            if isinstance(event, StreamData):
                require(all(event.data), "an empty piece of data is told")
                self._waiting[event.stream] = self._waiting.get(event.stream, 0) + sum(map(len, event.data))
            elif isinstance(event, StreamEnded):
                self.forget(event.stream)

    def forget(self, stream: int) -> None:
        """The stream is over for its owner."""
        for known in (self.asked, self.lookups, self.writable, self.closed):
            if stream in known:
                known.remove(stream)

    def do(self, verb: int, script: Cursor) -> None:
        """One of the verbs that both ends have."""
        if verb == 0:
            self.now = max(0.0, self.now + TIMES[script.byte() % len(TIMES)])
        elif verb == 1 and self.writable:
            self.end.send_data(self._pick(self.writable, script), bytes(64 * script.byte()))
        elif verb == 2 and self.writable:
            stream = self._pick(self.writable, script)
            self.writable.remove(stream)
            self.closed.append(stream)
            self.end.close_write(stream)
        elif verb == 3 and (streams := self.asked + self.lookups + self.writable + self.closed):
            stream = self._pick(streams, script)
            self.forget(stream)
            self.end.finish(stream, REASONS[script.byte() % len(REASONS)])
        elif verb == 4 and self._waiting:
            stream = self._pick(list(self._waiting), script)
            self.end.consumed(stream, self._waiting.pop(stream))

    @staticmethod
    def _pick(streams: list[int], script: Cursor) -> int:
        return streams[script.byte() % len(streams)]
