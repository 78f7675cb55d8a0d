"""Frames: what a link carries (docs/protocol, section Frames).

``circ_id u32 ‖ command u8 ‖ body``. :func:`split_frames` takes the frames of a record apart; :class:`FrameQueue`
holds what waits to be sent and takes turns between circuits. Called by link only; it is the hot path, so there is
no object for a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from torpydo.tpdp.constants import (
    BODY_SIZE,
    BODY_SIZES,
    BULK_SIZE,
    CREATE,
    CREATED,
    DESTROY,
    HANDSHAKE_SIZE,
    HEADER_SIZE,
)
from torpydo.tpdp.events import Cell
from torpydo.wire import Malformed

ZERO_BODY = bytes(BODY_SIZE)
_FILL = bytes(BODY_SIZE - HANDSHAKE_SIZE)
"""What follows the message of a CREATE or CREATED."""
QUANTUM = HEADER_SIZE + BULK_SIZE
"""Bytes of frames that a circuit sends before it is the next one's turn: one BULK, or fifteen CELLs."""


def encode_frame(circ_id: int, command: int, body: bytes) -> bytes:
    """One frame; *body* has the size that *command* asks for."""
    return circ_id.to_bytes(4, "big") + bytes((command,)) + body


def split_frames(frames: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Take whole frames apart: (circuit id, command, body).

    :raises Malformed: at a command that is not known, or if the last frame is not whole
    """
    position = 0
    end = len(frames)
    while position < end:
        start = position + HEADER_SIZE
        size = BODY_SIZES.get(frames[start - 1]) if start <= end else None
        if size is None:
            raise Malformed("a frame with a command that is not known" if start <= end else "a frame without a header")
        stop = start + size
        if stop > end:
            raise Malformed("a frame that runs over the end of its record")
        yield int.from_bytes(frames[position : start - 1], "big"), frames[start - 1], frames[start:stop]
        position = stop


def pad_body(message: bytes) -> bytes:
    """Fill a body of the common size with zeros."""
    return message + ZERO_BODY[len(message) :]


def check_fill(command: int, body: bytes) -> None:
    """Insist that the body of a CREATE or CREATED is zeros after its message, and that of any other frame altogether.

    :raises Malformed: if it is not; the neighbour has put something there that the protocol has no place for
    """
    if not body.endswith(_FILL if command in (CREATE, CREATED) else ZERO_BODY):
        raise Malformed(f"frame {command} with a byte other than 0 in its fill")


class FrameQueue:
    """Frames that wait: in order within a circuit, a quantum of bytes in turn between circuits.

    A circuit that begins to wait goes once before those that wait for long, so that a key stroke passes a download
    and costs it nothing; it cannot do so again before the others had their turn.

    :ivar destroys: DESTROYs that wait
    :ivar destroys_left: DESTROYs that do not wait any more
    """

    __slots__ = (
        "_bytes",
        "_fresh",
        "_fresh_left",
        "_queues",
        "_total",
        "_turn",
        "_turn_left",
        "destroys",
        "destroys_left",
    )

    def __init__(self) -> None:
        self.destroys = 0
        self.destroys_left = 0
        self._queues: dict[int, deque[Cell]] = {}
        self._bytes: dict[int, int] = {}
        # Ids whose queue was dropped may still be in these; they are passed over.
        self._fresh: deque[int] = deque()
        self._turn: deque[int] = deque()
        self._fresh_left = QUANTUM
        self._turn_left = QUANTUM
        self._total = 0

    def __len__(self) -> int:
        """Bytes of bodies that wait."""
        return self._total

    def queued(self, circ_id: int) -> int:
        """Bytes of bodies that wait for one circuit."""
        return self._bytes.get(circ_id, 0)

    def put(self, circ_id: int, cells: list[Cell], *, patient: bool = False) -> int:
        """Append frames of one circuit; gives the bytes of their bodies.

        *patient* ones take their turn, though they begin to wait only now.
        So are DESTROYs: thousands may go at once, and the cells of circuits that live do not wait for them. Only one
        whose circuit had just begun to wait takes that circuit's place.
        """
        if not cells:
            return 0
        size = sum([len(body) for _, body in cells])
        if cells[0][0] == DESTROY:
            self.destroys += 1
        queue = self._queues.get(circ_id)
        if queue is None:
            self._queues[circ_id] = deque(cells)
            self._bytes[circ_id] = size
            (self._turn if patient else self._fresh).append(circ_id)
        else:
            queue.extend(cells)
            self._bytes[circ_id] += size
        self._total += size
        return size

    def drop(self, circ_id: int) -> int | None:
        """Forget what waits for one circuit; gives the command of the first frame of it."""
        queue = self._queues.pop(circ_id, None)
        if queue is None:
            return None
        self._total -= self._bytes.pop(circ_id)
        return queue[0][0] if queue else None

    def take(self, limit: int) -> bytes:
        """Up to *limit* bytes of whole frames, at least one if any waits."""
        parts: list[bytes] = []
        room = limit
        while self._fresh or self._turn:
            fresh = bool(self._fresh)
            ring, left = (self._fresh, self._fresh_left) if fresh else (self._turn, self._turn_left)
            circ_id = ring[0]
            queue = self._queues.get(circ_id)
            idle, full = not queue, False
            while queue:
                command, body = queue[0]
                size = len(body) + HEADER_SIZE
                full = size > room and bool(parts)
                if full or size > left:
                    break
                queue.popleft()
                if command == DESTROY:
                    self.destroys -= 1
                    self.destroys_left += 1
                parts.append(circ_id.to_bytes(4, "big") + bytes((command,)))
                parts.append(body)
                room -= size
                left -= size
                self._total -= size - HEADER_SIZE
                self._bytes[circ_id] -= size - HEADER_SIZE
            if not full:
                ring.popleft()
                left = QUANTUM
                if not idle:
                    # Also if nothing waits for it any more: it is not new again before the others had their turn.
                    self._turn.append(circ_id)
                elif queue is not None:
                    del self._queues[circ_id], self._bytes[circ_id]
            if fresh:
                self._fresh_left = left
            else:
                self._turn_left = left
            if full:
                break
        return b"".join(parts)
