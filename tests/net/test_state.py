"""Tests of torpydo.net.state."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import KEY_SIZE, Secret
from torpydo.errors import StateError
from torpydo.net import state as module
from torpydo.net.state import StateDirectory


def counting_rng() -> Callable[[int], bytes]:
    """Randomness that gives other bytes each time."""
    calls: list[int] = []

    def rng(count: int) -> bytes:
        calls.append(count)
        return bytes([len(calls)]) * count

    return rng


class StateTestCase(SynchronousTestCase):
    """A scratch directory under which state directories are made."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def below(self, *names: str) -> str:
        return os.path.join(self.scratch, *names)

    def open(self, *names: str) -> StateDirectory:
        directory = StateDirectory.open(self.below(*names))
        self.addCleanup(directory.close)
        return directory

    def assertRefused(self, path: str, *words: str) -> None:
        error = self.assertRaises(StateError, StateDirectory.open, path)
        for word in (path, *words):
            self.assertIn(word, str(error))

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)


def shared(mode: int) -> Callable[[str], None]:
    """A directory with such a mode."""

    def make(path: str) -> None:
        os.mkdir(path)
        os.chmod(path, mode)

    return make


def below_shared(mode: int) -> Callable[[str], None]:
    """A private directory in a parent with such a mode."""

    def make(path: str) -> None:
        os.mkdir(path, 0o700)
        os.chmod(os.path.dirname(path), mode)

    return make


def linked(path: str) -> None:
    """A link to a private directory."""
    os.mkdir(f"{path}-target", 0o700)
    os.symlink(f"{path}-target", path)


def file_in_place(path: str) -> None:
    """A file."""
    os.close(os.open(path, os.O_CREAT, 0o600))


def file_above(path: str) -> None:
    """A file in the place of the parent."""
    os.rmdir(os.path.dirname(path))
    file_in_place(os.path.dirname(path))


def link_to_nowhere_above(path: str) -> None:
    """A link in the place of the parent, to nothing."""
    os.rmdir(os.path.dirname(path))
    os.symlink("gone", os.path.dirname(path))


# A missing directory, and missing parents of it, are no mistake: they are made, for their owner alone.
LAYOUTS: tuple[tuple[Callable[[str], None], str], ...] = (
    (shared(0o740), "chmod 700"),
    (shared(0o720), "chmod 700"),
    (shared(0o704), "chmod 700"),
    (shared(0o702), "chmod 700"),
    (shared(0o500), "chmod 700"),
    (below_shared(0o720), "chmod go-w"),
    (below_shared(0o702), "chmod go-w"),
    (linked, "name what it points to"),
    (file_in_place, "move that away"),
    (file_above, "move that away"),
    (link_to_nowhere_above, "make that directory"),
)


class OpenTests(StateTestCase):
    """Which directories are taken."""

    def test_missing_is_made_private(self) -> None:
        """A missing directory is made for its owner alone, and so are its missing parents, even with umask 0."""
        self.addCleanup(os.umask, os.umask(0))
        self.open("a", "b")
        self.assertEqual(self.mode(self.below("a")), 0o700)
        self.assertEqual(self.mode(self.below("a", "b")), 0o700)

    def test_filepath(self) -> None:
        """A FilePath names the directory as well."""
        directory = StateDirectory.open(FilePath(self.below("a")))
        self.addCleanup(directory.close)
        self.assertEqual(directory.path("x"), self.below("a", "x"))

    def test_again_after_close(self) -> None:
        """A directory that was closed can be opened again; closing twice does no harm."""
        directory = self.open("a")
        directory.close()
        directory.close()
        self.open("a")

    def test_in_use(self) -> None:
        """A second user of a directory is refused."""
        self.open("a")
        self.assertRefused(self.below("a"), "another process")

    def test_shared_directory(self) -> None:
        """A directory that others may read is refused with the command that helps."""
        os.mkdir(self.below("a"))
        os.chmod(self.below("a"), 0o750)
        self.assertRefused(self.below("a"), f"chmod 700 {self.below('a')}")

    def test_writable_parent(self) -> None:
        """A parent to which others may write is refused: they could put another directory in place."""
        for mode in (0o720, 0o702):
            os.makedirs(self.below("open", "between"), exist_ok=True)
            os.chmod(self.below("open"), mode)
            self.assertRefused(self.below("open", "between", "a"), f"chmod go-w {self.below('open')}")

    def test_sticky_parent(self) -> None:
        """A sticky parent such as /tmp is fine."""
        os.mkdir(self.below("tmp"))
        os.chmod(self.below("tmp"), 0o1777)
        self.open("tmp", "a")

    def test_foreign_parent(self) -> None:
        """A parent of another user is refused."""
        os.mkdir(self.below("theirs"), 0o755)
        self.pretend_owner(self.below("theirs"))
        self.assertRefused(self.below("theirs", "a"), "belongs to another user")

    def test_foreign_directory(self) -> None:
        """A directory of another user is refused."""
        os.mkdir(self.below("theirs"), 0o700)
        self.pretend_owner(self.below("theirs"))
        self.assertRefused(self.below("theirs"), "belongs to another user")

    def pretend_owner(self, path: str) -> None:
        try:
            os.chown(path, os.geteuid() + 1, -1)
        except PermissionError:
            self.skipTest("only root can give a directory away")

    def test_file(self) -> None:
        """A file in place of the directory is refused."""
        with open(self.below("a"), "wb"):
            pass
        self.assertRefused(self.below("a"), "Not a directory", "move that away")

    def test_symbolic_link(self) -> None:
        """A link in place of the directory is refused."""
        os.mkdir(self.below("target"), 0o700)
        os.symlink("target", self.below("a"))
        self.assertRefused(self.below("a"), "symbolic link")

    def test_linked_parent(self) -> None:
        """A parent that is a link is taken, and judged by what it leads to."""
        os.makedirs(self.below("open", "real"))
        os.symlink(self.below("open", "real"), self.below("link"))
        self.open("link", "a").close()
        os.chmod(self.below("open"), 0o777)
        self.assertRefused(self.below("link", "a"), self.below("open"))

    def test_file_as_parent(self) -> None:
        """A file in place of a parent is refused."""
        with open(self.below("a"), "wb"):
            pass
        self.assertRefused(self.below("a", "b"))

    def test_unwritable(self) -> None:
        """A directory that cannot be written to is refused, even to root, who could."""
        os.mkdir(self.below("a"), 0o500)
        self.assertRefused(self.below("a"), "read-only", f"chmod 700 {self.below('a')}")

    def test_parent_that_leads_nowhere(self) -> None:
        """A link to a directory that does not exist is not made into one."""
        os.symlink(self.below("gone"), self.below("link"))
        self.assertRefused(self.below("link", "a"), "something above it leads nowhere")
        self.assertEqual(os.listdir(self.scratch), ["link"])

    def test_every_bad_layout_in_one_table(self) -> None:
        """Eight and more layouts, each refused with its path and what to do about it (SECURITY X1)."""
        for number, (make, remedy) in enumerate(LAYOUTS):
            path = self.below(str(number), "parent", "state")
            os.makedirs(os.path.dirname(path), 0o700)
            make(path)
            error = str(self.assertRaises(StateError, StateDirectory.open, path))
            self.assertIn(path, error)
            self.assertRegex(error, remedy)
            self.assertFalse(os.path.exists(os.path.join(path, "lock")), path)


class FileTests(StateTestCase):
    """Reading, writing and deleting."""

    def test_round_trip(self) -> None:
        """What was written is read, by the next process as well."""
        directory = self.open("a")
        directory.write("x", b"one")
        directory.write("x", b"two")
        directory.close()
        self.assertEqual(self.open("a").read("x"), b"two")

    def test_private_whatever_the_umask(self) -> None:
        """A file is its owner's alone from its first moment."""
        self.addCleanup(os.umask, os.umask(0))
        self.open("a").write("x", b"")
        self.assertEqual(self.mode(self.below("a", "x")), 0o600)

    def test_absent(self) -> None:
        """A file that does not exist is read as None and can be deleted."""
        directory = self.open("a")
        directory.delete("x")
        self.assertIsNone(directory.read("x"))

    def test_delete(self) -> None:
        """A deleted file is gone."""
        directory = self.open("a")
        directory.write("x", b"one")
        directory.delete("x")
        self.assertEqual(os.listdir(self.below("a")), ["lock"])

    def test_leftover(self) -> None:
        """What a crash in the middle of a write left does not disturb the next one."""
        directory = self.open("a")
        with open(self.below("a", ".x.new"), "wb") as file:
            file.write(b"ha")
        directory.write("x", b"whole")
        self.assertEqual(sorted(os.listdir(self.below("a"))), ["lock", "x"])

    def test_disk_full(self) -> None:
        """A write that fails leaves the old file, nothing else, and says what to do."""
        directory = self.open("a")
        directory.write("x", b"old")

        def full(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "full")

        self.patch(module.os, "write", full)
        error = self.assertRaises(StateError, directory.write, "x", b"new")
        self.assertIn("free some space", str(error))
        self.assertEqual(directory.read("x"), b"old")
        self.assertEqual(sorted(os.listdir(self.below("a"))), ["lock", "x"])

    def test_short_writes(self) -> None:
        """A disk that takes few bytes at a time gets all of them."""
        directory = self.open("a")
        write = os.write
        self.patch(module.os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        directory.write("x", b"0123456789")
        self.assertEqual(directory.read("x"), b"0123456789")

    def test_readable_by_others(self) -> None:
        """A file that others may read is refused with the command that helps."""
        directory = self.open("a")
        directory.write("x", b"secret")
        os.chmod(self.below("a", "x"), 0o640)
        error = self.assertRaises(StateError, directory.read, "x")
        self.assertIn(f"chmod 600 {self.below('a', 'x')}", str(error))

    def test_symbolic_link(self) -> None:
        """A link is not followed when reading, and replaced when writing."""
        directory = self.open("a")
        with open(self.below("target"), "wb") as file:
            file.write(b"theirs")
        os.chmod(self.below("target"), 0o600)
        os.symlink(self.below("target"), self.below("a", "x"))
        self.assertRaises(StateError, directory.read, "x")
        self.assertRaises(StateError, directory.reserve, "x")
        directory.write("x", b"mine")
        with open(self.below("target"), "rb") as file:
            self.assertEqual(file.read(), b"theirs")

    def test_not_a_file(self) -> None:
        """A pipe or a directory under the name of a file is refused, without waiting."""
        directory = self.open("a")
        os.mkfifo(self.below("a", "pipe"), 0o600)
        os.mkdir(self.below("a", "folder"), 0o700)
        for name in ("pipe", "folder"):
            self.assertRaises(StateError, directory.read, name)

    def test_too_large(self) -> None:
        """A file too large to be ours is refused, not read."""
        directory = self.open("a")
        os.truncate(directory.reserve("x"), 65 * 1024 * 1024)
        self.assertRaises(StateError, directory.read, "x")

    def test_set_aside(self) -> None:
        """A file of no use gets another name, and loses nothing."""
        directory = self.open("a")
        directory.write("x", b"torn")
        self.assertEqual(directory.set_aside("x"), self.below("a", "x.bad"))
        self.assertEqual((directory.read("x"), directory.read("x.bad")), (None, b"torn"))
        directory.write("x", b"torn again")
        directory.set_aside("x")
        self.assertEqual(directory.read("x.bad"), b"torn again")

    def test_set_aside_impossible(self) -> None:
        """What cannot be set aside stays where it is."""
        directory = self.open("a")
        directory.write("x", b"torn")
        os.mkdir(self.below("a", "x.bad"), 0o700)
        self.assertIn(self.below("a", "x"), str(self.assertRaises(StateError, directory.set_aside, "x")))
        self.assertEqual(directory.read("x"), b"torn")

    def test_names(self) -> None:
        """A name cannot lead out of the directory or to a file of the directory itself."""
        directory = self.open("a")
        for name in ("", ".", "..", "../x", "a/b", ".x.new", "x" * 201, "x\n", "é"):
            self.assertRaises(StateError, directory.write, name, b"")

    def test_reserve(self) -> None:
        """A reserved file is private, and keeps what it holds."""
        directory = self.open("a")
        path = directory.reserve("x")
        self.assertEqual(self.mode(path), 0o600)
        directory.write("x", b"one")
        directory.reserve("x")
        self.assertEqual(directory.read("x"), b"one")

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """Any content comes back as it was."""
        with tempfile.TemporaryDirectory() as scratch:
            directory = StateDirectory.open(os.path.join(scratch, "a"))
            directory.write("x", data)
            self.assertEqual(directory.read("x"), data)
            directory.close()


class KeyTests(StateTestCase):
    """Key files."""

    def test_made_once(self) -> None:
        """A key is made when there is none, and stays the same afterwards."""
        rng = counting_rng()
        directory = self.open("a")
        first = directory.signing_key("key", rng)
        directory.close()
        second = self.open("a").signing_key("key", rng)
        self.assertEqual(first.public, second.public)

    def test_kinds(self) -> None:
        """Both kinds of keys come from the file's bytes."""
        directory = self.open("a")
        secret = directory.key_bytes("key", counting_rng())
        self.assertEqual(secret, bytes([1]) * KEY_SIZE)
        self.assertEqual(directory.signing_key("key", counting_rng()).seed, secret)
        self.assertEqual(directory.dh_key("key", counting_rng()).raw, secret)

    def test_absent(self) -> None:
        """A key that does not exist is read as None."""
        self.assertIsNone(self.open("a").read_key("key"))

    def test_rotated(self) -> None:
        """A key that was replaced on purpose is the new one."""
        directory = self.open("a")
        directory.key_bytes("key", counting_rng())
        directory.write_key("key", Secret(bytes(KEY_SIZE)))
        self.assertEqual(directory.read_key("key"), bytes(KEY_SIZE))

    def assertTorn(self, directory: StateDirectory, data: bytes) -> None:
        directory.write("key", data)
        error = self.assertRaises(StateError, directory.signing_key, "key", counting_rng())
        self.assertIn("backup", str(error))
        self.assertEqual(directory.read("key"), data)

    def test_every_prefix_is_torn(self) -> None:
        """A key file that lost its end, or everything, is refused and kept."""
        directory = self.open("a")
        directory.key_bytes("key", counting_rng())
        whole = directory.read("key")
        assert whole is not None
        for length in range(0, len(whole), 5):
            self.assertTorn(directory, whole[:length])
        self.assertTorn(directory, whole[:-1])
        self.assertTorn(directory, whole + b"\n")

    def test_every_changed_byte_is_torn(self) -> None:
        """A key file with a changed byte is refused and kept."""
        directory = self.open("a")
        directory.key_bytes("key", counting_rng())
        whole = directory.read("key")
        assert whole is not None
        for place in range(0, len(whole), 3):
            self.assertTorn(directory, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])

    def test_foreign(self) -> None:
        """A file of something else is refused and kept."""
        self.assertTorn(self.open("a"), b"-----BEGIN OPENSSH PRIVATE KEY-----\n")


class LookTests(StateTestCase):
    """Directories that are only read."""

    def look(self, *names: str) -> StateDirectory:
        directory = StateDirectory.look(self.below(*names))
        self.addCleanup(directory.close)
        return directory

    def test_one_that_is_in_use(self) -> None:
        """What its process has written can be read beside it, and nothing is changed."""
        running = self.open("a")
        running.write("one", b"1")
        before = sorted(os.listdir(self.below("a")))
        looking = self.look("a")
        self.assertEqual((looking.read("one"), looking.read("two")), (b"1", None))
        self.assertEqual(sorted(os.listdir(self.below("a"))), before)
        looking.close()
        self.assertRefused(self.below("a"), "another process")

    def test_a_missing_one_is_not_made(self) -> None:
        """Neither is what is above it."""
        for path in (self.below("a"), self.below("a", "b")):
            error = self.assertRaises(StateError, StateDirectory.look, path)
            self.assertIn(path, str(error))
        self.assertEqual(os.listdir(self.scratch), [])

    def test_bad_layouts(self) -> None:
        """What would not be used is not read either, with the same remedy (SECURITY X1)."""
        for place, (make, remedy) in enumerate(LAYOUTS):
            os.mkdir(self.below(str(place)), 0o700)
            path = self.below(str(place), "state")
            make(path)
            error = self.assertRaises(StateError, StateDirectory.look, path)
            self.assertIn(remedy, str(error))

    def test_is_used(self) -> None:
        """It is told whether somebody has it; looking keeps nobody out, and makes no lock."""
        path = self.below("a")
        os.mkdir(path, 0o700)
        self.assertFalse(self.look("a").is_used())
        self.assertEqual(os.listdir(path), [])
        directory = self.open("a")
        self.assertTrue(self.look("a").is_used())
        directory.close()
        self.assertFalse(self.look("a").is_used())
        self.open("a")

    def test_faults_while_it_is_used(self) -> None:
        """A file that is replaced while one looks is no fault."""
        self.open("a").write("one", b"1")
        os.chmod(self.below("a", "one"), 0o640)
        names = [".guards.new", *os.listdir(self.below("a"))]
        self.patch(os, "listdir", lambda directory: names)
        [error] = self.look("a").faults()
        self.assertIn("chmod 600", str(error))

    def test_faults(self) -> None:
        """Each file that others may read or change, with its path and what helps; sockets and links are none."""
        directory = self.open("a")
        for name in ("one", "two", "three"):
            directory.write(name, b"1")
        self.assertEqual(directory.faults(), [])
        os.chmod(self.below("a", "one"), 0o640)
        os.chmod(self.below("a", "three"), 0o602)
        os.symlink("/nowhere", self.below("a", "link"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.below("a", "x.sock"))
            os.chmod(self.below("a", "x.sock"), 0o666)
            said = [str(error) for error in self.look("a").faults()]
        self.assertEqual(len(said), 2)
        for words, name in zip(said, ("one", "three"), strict=True):
            self.assertIn(f"chmod 600 {self.below('a', name)}", words)
