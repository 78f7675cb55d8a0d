"""Tests of torpydo.net.files."""

from __future__ import annotations

import errno
import os
import resource

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import FileBudget, files
from torpydo.net.files import (
    FEW,
    LOOK,
    LOOK_AGAIN,
    MOST,
    PRESSED,
    RESERVE,
    SEEN,
    count_open_files,
    raise_file_limit,
)


class CountTests(SynchronousTestCase):
    """How many are open."""

    def test_counted(self) -> None:
        """One more is one more."""
        before = count_open_files()
        assert before is not None
        reader, writer = os.pipe()
        self.assertEqual(count_open_files(), before + 2)
        os.close(reader)
        os.close(writer)
        self.assertEqual(count_open_files(), before)

    def test_nobody_tells(self) -> None:
        """A system without such a folder."""
        self.patch(files, "FOLDERS", ("/nowhere", "/nowhere/else"))
        self.assertIsNone(count_open_files())

    def test_none_is_left(self) -> None:
        """Where none is left to look with, all are in use."""

        def full(folder: str) -> list[str]:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "listdir", full)
        self.assertEqual(count_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class RaiseTests(SynchronousTestCase):
    """The limit of a process; the real one stays as it is."""

    def setUp(self) -> None:
        self.limits = (256, 4096)
        self.patch(resource, "getrlimit", lambda which: self.limits)
        self.patch(resource, "setrlimit", self.set)
        self.refuses: type[Exception] | None = None

    def set(self, which: int, limits: tuple[int, int]) -> None:
        """The system's part."""
        if self.refuses is not None:
            raise self.refuses("no")
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        self.limits = limits

    def test_raised(self) -> None:
        """As far as the system lets it, which is told; the bound itself stays."""
        self.assertEqual(raise_file_limit(), 4096)
        self.assertEqual(self.limits, (4096, 4096))

    def test_without_a_bound(self) -> None:
        """A million are enough for everybody."""
        self.limits = (1024, resource.RLIM_INFINITY)
        self.assertEqual(raise_file_limit(), MOST)
        self.assertEqual(self.limits, (MOST, resource.RLIM_INFINITY))

    def test_high_enough(self) -> None:
        """Nothing is set that is set already."""
        self.refuses = AssertionError
        self.limits = (4096, 4096)
        self.assertEqual(raise_file_limit(), 4096)

    def test_refused(self) -> None:
        """A system that names more than it gives leaves it as it was."""
        for refuses in (ValueError, PermissionError):
            self.refuses = refuses
            self.assertEqual(raise_file_limit(), 256)

    def warnings(self) -> list[str]:
        """What a process says that begins with that limit."""
        with capturedLogs() as logs:
            FileBudget.of_process(Clock().seconds)
        return [str(formatEvent(event)) for event in logs if event["log_level"] is LogLevel.warn]

    def test_few(self) -> None:
        """It begins nevertheless, and the operator hears what to do."""
        self.limits = (128, 128)
        (warning,) = self.warnings()
        self.assertIn("128 file descriptors", warning)
        self.assertIn("LimitNOFILE=", warning)

    def test_enough(self) -> None:
        """Then there is nothing to say."""
        self.limits = (128, FEW)
        self.assertEqual(self.warnings(), [])


class BudgetTests(SynchronousTestCase):
    """What a process may still open (SECURITY D4)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.open: int | None = 10
        self.looks = 0
        self.budget = FileBudget(self.clock.seconds, 128, self.count)

    def count(self) -> int | None:
        """The system's part."""
        self.looks += 1
        return self.open

    def test_the_reserve(self) -> None:
        """The last ones are for what must not fail."""
        self.assertEqual([self.budget.grant() for _ in range(90)].count(True), 128 - RESERVE - 10)
        self.assertEqual(self.budget.used, 128 - RESERVE)

    def test_what_was_closed(self) -> None:
        """It is seen within a second, and before something is refused it is looked for, but not each time."""
        self.budget.grant()
        self.clock.advance(LOOK / 2)
        self.assertEqual((self.budget.used, self.looks), (11, 1))
        self.clock.advance(LOOK / 2)
        self.assertEqual((self.budget.used, self.looks), (10, 2))
        while self.budget.grant():
            pass
        self.clock.advance(LOOK_AGAIN / 2)
        self.assertFalse(self.budget.grant())
        self.clock.advance(LOOK_AGAIN)
        self.assertTrue(self.budget.grant())
        self.assertEqual((self.looks, self.budget.used), (3, 11))

    def test_what_failed_at_once(self) -> None:
        """A thousand connections that are over before the next look are no reason to end others."""
        for _ in range(1000):
            self.assertTrue(self.budget.grant())
            self.assertEqual(self.budget.excess, 0)
            self.clock.advance(LOOK_AGAIN / 60)

    def test_released(self) -> None:
        """What is closed can be granted again at once; nobody can give back more than there is."""
        while self.budget.grant():
            pass
        self.budget.release()
        self.assertEqual([self.budget.grant(), self.budget.grant()], [True, False])
        for _ in range(1000):
            self.budget.release()
        self.assertEqual(self.budget.used, 0)

    def test_looks_are_rare_when_there_are_many(self) -> None:
        """A look at a hundred thousand takes a while."""
        self.open = 10 * SEEN
        self.budget.most = MOST
        self.assertEqual(self.budget.used, 10 * SEEN)
        self.clock.advance(9 * LOOK)
        self.assertEqual((self.budget.used, self.looks), (10 * SEEN, 1))
        self.clock.advance(LOOK)
        self.assertEqual((self.budget.used, self.looks), (10 * SEEN, 2))

    def test_excess(self) -> None:
        """Above nine tenths of what connections may have, it says how many must be closed."""
        self.assertEqual(self.budget.excess, 0)
        highest = int((128 - RESERVE) * PRESSED)
        for self.open, excess in ((highest, 0), (highest + 1, 1), (128, 128 - highest)):
            self.clock.advance(LOOK)
            self.assertEqual(self.budget.excess, excess)

    def test_nobody_counts(self) -> None:
        """A simulation, or a system where it cannot be counted, is bounded by the system alone."""
        endless = FileBudget(self.clock.seconds)
        self.assertTrue(all([endless.grant() for _ in range(1000)]))
        self.assertEqual((endless.used, endless.excess), (0, 0))
        self.open = None
        self.assertTrue(self.budget.grant())
        self.assertEqual(self.budget.used, 1)
