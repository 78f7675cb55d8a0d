"""Tests of torpydo.net.state on a disk that fails, and in a process that is killed, at each call (SECURITY X2)."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import Secret
from torpydo.errors import StateError
from torpydo.net import state as module
from torpydo.net.state import StateDirectory

OLD = b"what was there " * 50
NEW = b"what is to be there " * 60
CHANGES = ("open", "write", "fsync", "close", "rename", "unlink")
"""The calls that change a disk, or see to it that a change is on it."""


class Killed(BaseException):
    """The process is gone. Nobody catches it, and nothing that is done on its way out has any effect."""


class Disk:
    """Stands in for ``os``: it counts the calls that change the disk, and lets *fault* loose on them.

    :ivar calls: their names, in order
    :param fault: gets the number of the call and what would do it, and does it or not
    """

    def __init__(self, fault: Callable[[int, Callable[[], Any]], Any]) -> None:
        self.calls: list[str] = []
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            return self._fault(len(self.calls), lambda: real(*arguments, **options))

        if name != "write":
            return call

        def write(descriptor: int, data: bytes) -> int:
            # A disk that takes a part at a time: there is a moment between the parts.
            return int(call(descriptor, data[:400]))

        return write


def killed_at(number: int, *, after: bool) -> Callable[[int, Callable[[], Any]], Any]:
    """The process is killed at that call: before it has done anything, or when it is done."""

    def fault(call: int, do: Callable[[], Any]) -> Any:
        if call < number:
            return do()
        if call == number and after:
            do()
        raise Killed

    return fault


def failing(number: int, code: int, *, for_good: bool) -> Callable[[int, Callable[[], Any]], Any]:
    """That call fails, once or with all that follow."""

    def fault(call: int, do: Callable[[], Any]) -> Any:
        if call == number or (for_good and call > number):
            raise OSError(code, os.strerror(code))
        return do()

    return fault


class FaultTestCase(SynchronousTestCase):
    """A state directory with a file, which is to be replaced."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.path = os.path.join(self.scratch, "state")
        self.start(OLD)

    def start(self, content: bytes) -> None:
        """The file holds *content*."""
        directory = StateDirectory.open(self.path)
        directory.write("x", content)
        directory.close()

    def run_with(self, fault: Callable[[int, Callable[[], Any]], Any], act: Callable[[StateDirectory], object]) -> Disk:
        """Do something with the directory on such a disk."""
        directory = StateDirectory.open(self.path)
        disk = Disk(fault)
        original, module.os = module.os, disk
        try:
            act(directory)
        finally:
            module.os = original
            directory.close()
        return disk

    def read(self) -> bytes | None:
        """What the next process reads; that it can open the directory at all is part of the test."""
        directory = StateDirectory.open(self.path)
        try:
            return directory.read("x")
        finally:
            directory.close()

    def calls(self, act: Callable[[StateDirectory], object]) -> list[str]:
        """What it does on a disk that works."""
        return self.run_with(lambda call, do: do(), act).calls


def write(directory: StateDirectory) -> None:
    """What is tested."""
    directory.write("x", NEW)


class KilledTests(FaultTestCase):
    """kill -9."""

    def test_at_every_call(self) -> None:
        """The file is the old one or the new one, never something between, and the next write works."""
        calls = self.calls(write)
        seen = []
        for number in range(1, len(calls) + 1):
            for after in (False, True):
                self.start(OLD)
                self.assertRaises(Killed, self.run_with, killed_at(number, after=after), write)
                found = self.read()
                self.assertIn(found, (OLD, NEW), f"{calls[number - 1]}, call {number} of {len(calls)}")
                seen.append(found)
        # Both outcomes were met, in that order: the change is one moment.
        self.assertEqual(seen, [OLD] * seen.count(OLD) + [NEW] * seen.count(NEW))
        self.assertTrue(seen.count(OLD) > 8 and seen.count(NEW) > 1)
        self.start(NEW)
        self.assertEqual(sorted(os.listdir(self.path)), ["lock", "x"])

    def test_a_new_key(self) -> None:
        """A key that is being made is whole, or is not there, and then another one is made."""
        key = Secret(bytes(range(32)))

        def make(directory: StateDirectory) -> None:
            directory.delete("x")
            directory.write_key("x", key)

        for number in range(3, len(self.calls(make)) + 1):
            self.assertRaises(Killed, self.run_with, killed_at(number, after=True), make)
            directory = StateDirectory.open(self.path)
            self.assertIn(directory.read_key("x"), (None, key))
            directory.close()

    def test_setting_aside(self) -> None:
        """A file that is set aside is under one of its two names."""
        for number in range(1, len(self.calls(lambda directory: directory.set_aside("x"))) + 1):
            for after in (False, True):
                self.start(OLD)
                fault = killed_at(number, after=after)
                self.assertRaises(Killed, self.run_with, fault, lambda directory: directory.set_aside("x"))
                directory = StateDirectory.open(self.path)
                self.assertIn(OLD, (directory.read("x"), directory.read("x.bad")))
                directory.close()

    def test_what_is_on_the_disk_when(self) -> None:
        """Power may fail, too: content before its name, and the name before anybody hears that it is done."""
        calls = self.calls(write)
        last_write, rename = len(calls) - 1 - calls[::-1].index("write"), calls.index("rename")
        self.assertIn("fsync", calls[last_write:rename])
        self.assertEqual(calls[rename + 1 :], ["fsync"])


class FailingTests(FaultTestCase):
    """ENOSPC, EIO and their like."""

    CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)

    def test_every_call_that_fails(self) -> None:
        """The caller hears of it with path and remedy, the file is whole, and nothing is left open or lying about."""
        count = len(self.calls(write))
        files = len(os.listdir("/dev/fd"))
        for number in range(1, count + 1):
            for code in self.CODES:
                self.start(OLD)
                fault = failing(number, code, for_good=False)
                error = str(self.assertRaises(StateError, self.run_with, fault, write))
                self.assertIn(os.path.join(self.path, "x"), error)
                self.assertIn(os.strerror(code), error)
                # The rename may have been made when the directory could not be synced.
                self.assertIn(self.read(), (OLD,) if number < count else (NEW,))
                self.assertEqual(sorted(os.listdir(self.path)), ["lock", "x"], number)
        # Closing was made to fail, too, and then was not done.
        self.assertLessEqual(len(os.listdir("/dev/fd")), files + len(self.CODES))

    def test_a_disk_that_is_gone(self) -> None:
        """From some call on all fail, the one that cleans up as well; the next process finds the old file and works."""
        for number in range(1, len(self.calls(write))):
            self.start(OLD)
            self.assertRaises(StateError, self.run_with, failing(number, errno.EIO, for_good=True), write)
            self.assertEqual(self.read(), OLD)

    def test_reading(self) -> None:
        """A file that cannot be read is an error, never an empty file: a key would be made anew."""

        def unreadable(path: str, *arguments: Any, **options: Any) -> Any:
            raise OSError(errno.EIO, "broken")

        directory = StateDirectory.open(self.path)
        self.addCleanup(directory.close)
        self.patch(module.os, "fdopen", unreadable)
        for act in (directory.read, directory.read_key):
            self.assertIn("check the disk", str(self.assertRaises(StateError, act, "x")))
