"""Tests of torpydo.cli.output."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.output import FileOutput
from torpydo.errors import StateError


class FileOutputTests(SynchronousTestCase):
    """A file appears when it is whole."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "file")

    def finish(self, output: FileOutput) -> None:
        """Say that everything was written."""
        self.successResultOf(Deferred.fromCoroutine(output.finish()))

    def content(self) -> bytes:
        """What is in the file."""
        with open(self.path, "rb") as file:
            return file.read()

    def test_a_finished_file_has_the_bytes(self) -> None:
        """All that was written, in order, and nothing beside it."""
        output = FileOutput(self.path)
        output.write(b"one ")
        output.write(b"two")
        self.finish(output)
        output.abandon()
        self.assertEqual(self.content(), b"one two")
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_an_unfinished_file_is_not_there(self) -> None:
        """Until the end nothing has the file's name."""
        output = FileOutput(self.path)
        output.write(b"half")
        self.assertFalse(os.path.exists(self.path))
        output.abandon()

    def test_an_abandoned_file_leaves_nothing(self) -> None:
        """A download that failed leaves the directory as it was."""
        output = FileOutput(self.path)
        output.write(b"half")
        output.abandon()
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_failed_download_keeps_the_old_file(self) -> None:
        """What was there before is only replaced by something whole."""
        with open(self.path, "wb") as file:
            file.write(b"old")
        output = FileOutput(self.path)
        output.write(b"new")
        output.abandon()
        self.assertEqual(self.content(), b"old")

    def test_a_new_file_obeys_the_umask(self) -> None:
        """A download is readable by whoever may read the user's other files."""
        before = os.umask(0o027)
        self.addCleanup(os.umask, before)
        output = FileOutput(self.path)
        self.finish(output)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)

    def test_a_missing_directory_is_named(self) -> None:
        """The error says which file cannot be written, and why."""
        error = self.assertRaises(StateError, FileOutput, os.path.join(self.directory, "no", "file"))
        self.assertIn("no/file cannot be written: No such file or directory", str(error))

    def test_a_directory_is_refused_at_once(self) -> None:
        """Not after the download, when the name is to be taken."""
        self.assertRaises(StateError, FileOutput, self.directory)

    def test_a_name_that_is_none(self) -> None:
        """It is refused at once, and the option that has it is named."""
        for path in ("", os.path.join(self.directory, "missing", "")):
            error = self.assertRaises(StateError, FileOutput, path, "--json")
            self.assertIn("name one with --json", str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_pipe_or_a_device_is_not_replaced(self) -> None:
        """A file in its place is not what anybody wants."""
        os.mkfifo(self.path)
        for path in (self.path, "/dev/null"):
            error = self.assertRaises(StateError, FileOutput, path)
            self.assertIn("is not a plain file", str(error))
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_a_full_disk_is_a_typed_error(self) -> None:
        """What the file system says reaches the user as one sentence, and the part is removed."""
        output = FileOutput(self.path)
        output._file.close()
        output._file = open("/dev/full", "wb", buffering=0)
        error = self.assertRaises(StateError, output.write, b"data")
        self.assertIn("No space left on device", str(error))
        output.abandon()
        self.assertEqual(os.listdir(self.directory), [])
