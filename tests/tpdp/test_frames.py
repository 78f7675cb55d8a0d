"""Frames: they are split as they were joined, and circuits take turns."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.tpdp.constants import (
    AUTH,
    BODY_SIZES,
    BULK,
    CELL,
    CREATE,
    CREATED,
    DESTROY,
    EARLY,
    HEADER_SIZE,
    MAX_RECORD_FRAMES,
    PADDING,
)
from torpydo.tpdp.frames import FrameQueue, encode_frame, pad_body, split_frames
from torpydo.wire import Malformed

FRAMES = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(sorted(BODY_SIZES)), st.integers(1, 255)).map(
    lambda one: (one[0], one[1], bytes([one[2]]) * BODY_SIZES[one[1]])
)


class FrameTests(SynchronousTestCase):
    """circ_id u32 ‖ command u8 ‖ body."""

    def test_numbers(self) -> None:
        """The commands and the two sizes are the protocol's (section Frames)."""
        self.assertEqual((PADDING, CREATE, CREATED, CELL, BULK, DESTROY, AUTH, EARLY), (0, 1, 2, 3, 4, 5, 6, 9))
        self.assertEqual({command: size for command, size in BODY_SIZES.items() if size != 1024}, {BULK: 16384})

    @given(st.lists(FRAMES, max_size=5))
    def test_round_trip(self, frames: list[tuple[int, int, bytes]]) -> None:
        """Any sequence of frames is split again."""
        self.assertEqual(list(split_frames(b"".join(encode_frame(*frame) for frame in frames))), frames)

    def test_golden(self) -> None:
        """The header is big-endian and five bytes long."""
        frame = encode_frame(0x80000001, EARLY, pad_body(b"\xff"))
        self.assertEqual(frame.hex(), "8000000109ff" + "00" * 1023)

    def test_every_prefix_is_refused(self) -> None:
        """A record whose last frame is not whole is refused, wherever it ends."""
        whole = encode_frame(1, CELL, b"\x01" * 1024)
        data = whole + encode_frame(2, EARLY, b"\x02" * 1024)
        for size in range(1, len(data)):
            if size != len(whole):
                with self.assertRaises(Malformed):
                    list(split_frames(data[:size]))

    def test_trailing_byte_is_refused(self) -> None:
        """A byte after the last frame is the beginning of one that is not whole."""
        with self.assertRaises(Malformed):
            list(split_frames(encode_frame(1, CELL, bytes(1024)) + b"\0"))

    def test_unknown_command_is_refused(self) -> None:
        """Every command that has no size."""
        for command in set(range(256)) - set(BODY_SIZES):
            with self.assertRaises(Malformed):
                list(split_frames(encode_frame(1, command, bytes(16384))))


class FrameQueueTests(SynchronousTestCase):
    """What waits."""

    def taken(self, queue: FrameQueue, limit: int) -> list[tuple[int, int, bytes]]:
        """The frames of one record."""
        return list(split_frames(queue.take(limit)))

    def test_round_robin(self) -> None:
        """A circuit with much to send lets others go between its quanta, which are bytes: one BULK, fifteen CELLs."""
        queue = FrameQueue()
        queue.put(1, [(BULK, bytes([number]) * 16384) for number in range(4)])
        queue.put(2, [(CELL, b"b" * 1024)] * 20)
        queue.put(3, [(BULK, b"c" * 16384)])
        order = [circ_id for circ_id, _, _ in self.taken(queue, 2 * MAX_RECORD_FRAMES)]
        self.assertEqual(order, [1, *[2] * 15, 3, 1, *[2] * 5, 1, 1])

    def test_the_turn_goes_on_in_the_next_record(self) -> None:
        """No circuit begins anew with each record, nor with each quantum."""
        queue = FrameQueue()
        for circ_id in (1, 2, 3):
            queue.put(circ_id, [(BULK, bytes(16384))] * 2)
        order = [circ_id for _ in range(6) for circ_id, _, _ in self.taken(queue, 16389)]
        self.assertEqual(order, [1, 2, 3, 1, 2, 3])

    def test_a_key_stroke_passes_a_download(self) -> None:
        """What begins to wait goes before those that wait for long."""
        queue = FrameQueue()
        queue.put(1, [(BULK, bytes(16384))] * 8)
        queue.take(2 * 16389)
        queue.put(2, [(CELL, bytes(1024))])
        self.assertEqual([circ_id for circ_id, _, _ in self.taken(queue, 2000)], [2])

    def test_patient_frames_wait_for_all_others(self) -> None:
        """A cell passes the DESTROYs of other circuits, whenever it comes."""
        queue = FrameQueue()
        for circ_id in range(1, 100):
            queue.put(circ_id, [(DESTROY, bytes(1024))], patient=True)
        queue.take(3 * 1029)
        queue.put(200, [(CELL, bytes(1024))])
        self.assertEqual([circ_id for circ_id, _, _ in self.taken(queue, 1029)], [200])

    def test_nobody_is_new_all_the_time(self) -> None:
        """Whoever sends again and again a little does not keep the others waiting: every second turn is theirs."""
        queue = FrameQueue()
        queue.put(1, [(BULK, bytes(16384))] * 40)
        order = []
        for _ in range(40):
            if not queue.queued(2):
                queue.put(2, [(BULK, bytes(16384))])
            order += [circ_id for circ_id, _, _ in self.taken(queue, 16389)]
        self.assertEqual(order.count(1), 20)

    @given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([CELL, BULK])), min_size=1, max_size=30))
    def test_shares_are_even(self, extra: list[tuple[int, int]]) -> None:
        """While circuits have enough to send, no two get further apart than two quanta, whatever their sizes."""
        queue = FrameQueue()
        sent = {1: 0, 2: 0, 3: 0}
        for circ_id, command in [(1, BULK), (2, CELL), (3, BULK), *extra]:
            queue.put(circ_id, [(command, bytes(BODY_SIZES[command]))])
        for circ_id in sent:
            command = CELL if circ_id == 2 else BULK
            queue.put(circ_id, [(command, bytes(BODY_SIZES[command]))] * 99)
        for _ in range(12):
            for circ_id, _, body in self.taken(queue, 16389):
                sent[circ_id] += len(body)
        self.assertLessEqual(max(sent.values()) - min(sent.values()), 2 * 16389)

    @given(
        st.lists(st.tuples(st.integers(1, 4), st.lists(st.sampled_from([CELL, BULK, EARLY]), max_size=6)), max_size=8),
        st.integers(1, 3 * 16389),
    )
    def test_nothing_is_lost_or_reordered(self, puts: list[tuple[int, list[int]]], limit: int) -> None:
        """Whatever the sizes of records: each circuit's frames come in order, the sums are right, limits are kept."""
        queue = FrameQueue()
        expected: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        number = 0
        for circ_id, commands in puts:
            cells = []
            for command in commands:
                number += 1
                cells.append((command, number.to_bytes(2, "big") * (BODY_SIZES[command] // 2)))
            expected[circ_id] += cells
            queue.put(circ_id, cells)
        got: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        waiting = sum(len(body) for cells in expected.values() for _, body in cells)
        while len(queue):
            self.assertEqual(len(queue), waiting)
            frames = queue.take(limit)
            taken = list(split_frames(frames))
            self.assertTrue(len(frames) <= limit or len(taken) == 1)
            for circ_id, command, body in taken:
                got[circ_id].append((command, body))
                waiting -= len(body)
            for circ_id, cells in expected.items():
                left = sum(len(body) for _, body in cells[len(got[circ_id]) :])
                self.assertEqual(queue.queued(circ_id), left)
        self.assertEqual(waiting, 0)
        self.assertEqual({key: cells for key, cells in got.items() if cells}, {k: c for k, c in expected.items() if c})

    def test_empty(self) -> None:
        """Nothing waits, nothing is taken; putting nothing changes nothing."""
        queue = FrameQueue()
        queue.put(1, [])
        self.assertEqual((queue.take(1000), len(queue), queue.queued(1)), (b"", 0, 0))

    def test_drop(self) -> None:
        """A circuit that is dropped leaves the others, and dropping one that waits not is nothing."""
        queue = FrameQueue()
        queue.put(1, [(CELL, bytes(1024))] * 3)
        queue.put(2, [(CELL, bytes(1024))])
        queue.drop(1)
        queue.drop(7)
        self.assertEqual((queue.queued(1), len(queue)), (0, 1024))
        self.assertEqual([circ_id for circ_id, _, _ in self.taken(queue, 9999)], [2])

    def test_destroys_are_counted(self) -> None:
        """Those that wait, and those that have left; no other frame is."""
        queue = FrameQueue()
        queue.put(1, [(CELL, bytes(1024))] * 3)
        for circ_id in range(2, 6):
            queue.put(circ_id, [(DESTROY, bytes(1024))], patient=True)
        queue.drop(1)
        self.assertEqual((queue.destroys, queue.destroys_left), (4, 0))
        queue.take(3 * 1029)
        self.assertEqual((queue.destroys, queue.destroys_left), (1, 3))

    def test_one_frame_goes_even_if_it_is_larger(self) -> None:
        """A limit below a frame does not stop the queue."""
        queue = FrameQueue()
        queue.put(1, [(BULK, bytes(16384))] * 2)
        self.assertEqual(len(queue.take(1)), HEADER_SIZE + 16384)
