"""A stream to the node itself: questions of the DHT come on it, and are answered in turn. Made and fed by exits.

Nothing is connected to, so the exit policy has no say. An answer is made at once; while many of them wait for the
circuit no question is taken, and whoever asks gets no credit for more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from torpydo.dht import frame, take_frame
from torpydo.net import Buckets, Queue
from torpydo.node.bounds import Bounds
from torpydo.node.limits import READ_HIGH
from torpydo.node.refusal import NodeRefusal
from torpydo.tpdp import Address, EndReason
from torpydo.wire import Malformed

__all__ = ["AnswerFunction", "LocalService", "LocalStream"]

NOWHERE = Address(bytes(4), 0)
"""What such a stream is connected to."""

AnswerFunction = Callable[[bytes, bytes], bytes]
"""The answer to a question and its source; raises :class:`Malformed` if it is none."""


class LocalService:
    """What answers in this node.

    :param bounds: of this process
    """

    def __init__(self, seconds: Callable[[], float], bounds: Bounds, answer: AnswerFunction) -> None:
        self._bounds = bounds
        self._answer = answer
        limits = bounds.limits
        self._asked = Buckets(seconds, limits.questions_per_second, limits.questions_burst)

    def ask(self, question: bytes, source: bytes) -> bytes | None:
        """The answer; ``None`` if *source* asks too much.

        :raises Malformed: if it is no question
        """
        if not math.isinf(self._bounds.limits.questions_burst) and not self._asked.take(source):
            self._bounds.refuse(NodeRefusal.QUESTIONS_TOO_FAST)
            return None
        return self._answer(question, source)


class LocalOwner(Protocol):
    """What such a stream wants of the streams of its circuit."""

    source: bytes

    @property
    def end(self) -> Any:
        """The circuit's end."""

    def flush(self) -> None:
        """Send the cells that the last verbs made."""

    def local_gone(self, number: int) -> None:
        """The stream needs nothing any more."""


class LocalStream:
    """One of them.

    :param service: makes the answers
    """

    def __init__(self, owner: LocalOwner, number: int, service: LocalService) -> None:
        self._owner = owner
        self._number = number
        self._service = service
        self._read = bytearray()
        self._taken = 0
        self._closed = False
        owner.end.connected(number, NOWHERE, 0)
        owner.flush()

    @property
    def queued(self) -> int:
        """Bytes of questions that wait here."""
        return len(self._read)

    def queues(self) -> tuple[Queue, Queue]:
        """Those, and the answers that wait for the circuit."""
        back = self._owner.end.buffered(self._number)
        return ((self._number, "out"), len(self._read), self._taken), ((self._number, "back"), back, 0)

    # -- From the circuit

    def write(self, data: list[bytes]) -> None:
        """Questions, or parts of them."""
        self._read += b"".join(data)
        self._go_on()

    def writable(self) -> None:
        """The circuit takes answers again."""
        self._go_on()

    def client_closed(self) -> None:
        """There are no more questions."""
        self._closed = True
        self._go_on()

    def client_ended(self, reason: EndReason) -> None:
        """Nobody wants the answers any more."""
        self._owner.local_gone(self._number)

    def abandon(self) -> None:
        """The circuit is gone."""
        self._owner.local_gone(self._number)

    def _go_on(self) -> None:
        end, before = self._owner.end, len(self._read)
        over: EndReason | None = None
        while over is None and end.buffered(self._number) <= READ_HIGH:
            try:
                question = take_frame(self._read)
                if question is None:
                    over = EndReason.DONE if self._closed else None
                    break
                answer = self._service.ask(question, self._owner.source)
            except Malformed:
                over = EndReason.MISC
                break
            if answer is None:
                over = EndReason.RESOURCE_LIMIT
            else:
                end.send_data(self._number, frame(answer))
        taken = before - len(self._read)
        if taken:
            self._taken += taken
            end.consumed(self._number, taken)
        if over is not None:
            end.finish(self._number, over)
            self._owner.local_gone(self._number)
        self._owner.flush()
