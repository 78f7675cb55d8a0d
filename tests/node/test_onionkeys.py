"""Tests of torpydo.node.onionkeys."""

from __future__ import annotations

import tempfile
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import StateError
from torpydo.net import StateDirectory
from torpydo.node.onionkeys import FILE, GRACE, ROTATE_AFTER, OnionKeys

NOW = 1_800_000_000


def make_rng() -> object:
    """Keys that differ, the same in every run."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "little")


class OnionKeysTests(SynchronousTestCase):
    """The pair of keys, and its file."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = StateDirectory.open(f"{directory.name}/state")
        self.addCleanup(self.state.close)
        self.rng = make_rng()

    def open(self, now: float = NOW) -> OnionKeys:
        """The keys as a node that starts finds them."""
        return OnionKeys.open(self.state, self.rng, now)

    def test_first_start(self) -> None:
        """There is one key at first, and it is on the disk."""
        keys = self.open()
        self.assertEqual(len(keys.accepted(NOW)), 1)
        self.assertIn(bytes(keys.accepted(NOW)[0].raw), self.state.read(FILE) or b"")

    def test_survives_a_restart(self) -> None:
        """A restart changes nothing."""
        before = self.open().accepted(NOW)[0].raw
        self.assertEqual([key.raw for key in self.open(NOW + 1000).accepted(NOW + 1000)], [before])

    def test_kept_for_a_week(self) -> None:
        """Until its time is up the key stays."""
        keys = self.open()
        first = keys.accepted(NOW)[0]
        self.assertFalse(keys.rotate(NOW + ROTATE_AFTER - 1))
        self.assertEqual(keys.accepted(NOW + ROTATE_AFTER - 1), (first,))

    def test_rotates_after_a_week(self) -> None:
        """Then there is a new one; the old one comes second."""
        keys = self.open()
        first = keys.accepted(NOW)[0]
        now = NOW + ROTATE_AFTER
        self.assertTrue(keys.rotate(now))
        current, previous = keys.accepted(now)
        self.assertIs(previous, first)
        self.assertNotEqual(current.raw, first.raw)

    def test_previous_for_a_day(self) -> None:
        """The old one is accepted for a day, and not a second longer."""
        keys = self.open()
        now = NOW + ROTATE_AFTER
        keys.rotate(now)
        self.assertEqual(len(keys.accepted(now + GRACE)), 2)
        self.assertEqual(len(keys.accepted(now + GRACE + 1)), 1)

    def test_pair_survives_a_restart(self) -> None:
        """Both keys are read again, in their order."""
        keys = self.open()
        now = NOW + ROTATE_AFTER
        keys.rotate(now)
        expected = [key.raw for key in keys.accepted(now)]
        self.assertEqual([key.raw for key in self.open(now + 5).accepted(now + 5)], expected)

    def test_rotates_at_a_late_start(self) -> None:
        """A node that was off for a month begins with a new key, and still takes the one it had."""
        first = self.open().accepted(NOW)[0].raw
        late = NOW + 4 * ROTATE_AFTER
        accepted = [key.raw for key in self.open(late).accepted(late)]
        self.assertEqual((len(accepted), accepted[1]), (2, first))

    def test_key_from_the_future(self) -> None:
        """A key made while the clock was years ahead does not stay for years."""
        self.open(NOW + 10 * ROTATE_AFTER)
        self.assertEqual(self.open(NOW).made_at, NOW)

    def test_torn_file(self) -> None:
        """Every shortened file is refused with its path, and left as it is."""
        self.open()
        whole = self.state.read(FILE) or b""
        for size in range(len(whole)):
            self.state.write(FILE, whole[:size])
            error = self.assertRaises(StateError, self.open)
            self.assertIn(self.state.path(FILE), str(error))
            self.assertEqual(self.state.read(FILE), whole[:size])

    def test_changed_file(self) -> None:
        """So is every file with a byte that changed."""
        self.open()
        whole = self.state.read(FILE) or b""
        for place in range(len(whole)):
            self.state.write(FILE, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            self.assertRaises(StateError, self.open)

    def test_disk_full(self) -> None:
        """A key that cannot be kept is not used."""
        keys = self.open()
        first = keys.accepted(NOW)
        self.state.close()
        self.assertRaises(StateError, keys.rotate, NOW + ROTATE_AFTER)
        self.assertEqual(keys.accepted(NOW), first)
        self.assertEqual(keys.made_at, NOW)

    def test_without_state(self) -> None:
        """In memory only, it works as well."""
        keys = OnionKeys.open(None, self.rng, NOW)
        self.assertTrue(keys.rotate(NOW + ROTATE_AFTER))
        self.assertEqual(len(keys.accepted(NOW + ROTATE_AFTER)), 2)
