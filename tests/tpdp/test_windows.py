"""Flow control of a circuit: what may be in flight, and who chooses the size of cells."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.constants import ACK_INTERVAL, BULK, BULK_SIZE, CELL, WINDOW_MAX
from torpydo.tpdp.windows import ReceiveWindow, SendWindow, SizeChooser


def tag(number: int) -> bytes:
    """The MAC of a cell."""
    return number.to_bytes(16, "big")


class WindowTests(SynchronousTestCase):
    """Both sides of a window."""

    def test_both_close_the_same_cells(self) -> None:
        """Whatever the sizes, sender and receiver agree about which cell closes an interval."""
        sender, receiver = SendWindow(WINDOW_MAX), ReceiveWindow()
        expected = 0
        for number in range(300):
            body = BULK_SIZE if number % 7 in (0, 3) else 1024
            closes = sender.closes(body)
            sender.sent(body, tag(number), 0.0)
            self.assertEqual(receiver.received(body), closes)
            if closes:
                expected += 1
                self.assertEqual(sender.acknowledged(tag(number), 1.5), 1.5)
                self.assertEqual(sender.in_flight, 0)
        self.assertGreater(expected, 30)

    def test_limit(self) -> None:
        """The last cell that fits may go, the next may not."""
        window = SendWindow(3000)
        window.sent(1024, tag(0), 0.0)
        self.assertTrue(window.may_send(1976))
        self.assertFalse(window.may_send(1977))

    def test_surplus_and_wrong(self) -> None:
        """An acknowledgement of nothing, of another cell, or of one that is not due."""
        self.assertRaises(RemoteProtocolError, SendWindow().acknowledged, tag(0), 0.0)
        for wrong in (tag(9), tag(1), b""):
            window = SendWindow()
            for number in range(2):
                window.sent(ACK_INTERVAL, tag(number), 0.0)
            self.assertRaises(RemoteProtocolError, window.acknowledged, wrong, 0.0)
        window = SendWindow()
        window.sent(ACK_INTERVAL, tag(0), 0.0)
        window.acknowledged(tag(0), 0.0)
        self.assertRaises(RemoteProtocolError, window.acknowledged, tag(0), 0.0)


class SizeChooserTests(SynchronousTestCase):
    """The builder's choice."""

    def interval(self, sizes: SizeChooser, command: int, used: int) -> list[int]:
        """An interval of cells that carry *used* bytes; what was asked for."""
        body = BULK_SIZE if command == BULK else 1024
        asked = [sizes.received(command, used, body - 16) for _ in range(ACK_INTERVAL // body)]
        return [one for one in asked if one is not None]

    def test_bulk_after_full_cells(self) -> None:
        """Asked for once, with the last cell of the interval; one cell that is not full is enough against it."""
        sizes = SizeChooser()
        sizes.received(CELL, 900, 1008)
        self.assertEqual([sizes.received(CELL, 1008, 1008) for _ in range(31)], [None] * 31)
        self.assertEqual(self.interval(sizes, CELL, 1000), [BULK])

    def test_nothing_new_before_the_change_arrived(self) -> None:
        """However many cells come in between."""
        sizes = SizeChooser()
        self.assertEqual(self.interval(sizes, CELL, 1008), [BULK])
        self.assertEqual(self.interval(sizes, CELL, 1008), [])
        sizes.received(BULK, 16368, 16368)
        self.assertRaises(RemoteProtocolError, sizes.received, CELL, 1008, 1008)

    def test_cell_after_empty_bulk(self) -> None:
        """A quarter full is enough to stay."""
        sizes = SizeChooser()
        self.interval(sizes, CELL, 1008)
        self.assertEqual(self.interval(sizes, BULK, BULK_SIZE // 4), [])
        self.assertEqual(self.interval(sizes, BULK, BULK_SIZE // 4 - 1), [CELL])
        self.assertEqual(sizes.received(CELL, 5, 1008), None)
        self.assertEqual(self.interval(sizes, CELL, 5), [])

    def test_change_not_asked_for(self) -> None:
        """A violation."""
        self.assertRaises(RemoteProtocolError, SizeChooser().received, BULK, 1, 16368)

    def test_change_too_late(self) -> None:
        """More than a window after it was asked for is a violation."""
        sizes = SizeChooser()
        self.interval(sizes, CELL, 1008)
        for _ in range(WINDOW_MAX // 1024):
            sizes.received(CELL, 1008, 1008)
        self.assertRaises(RemoteProtocolError, sizes.received, CELL, 1008, 1008)
