"""Tests of torpydo.net.keyfile: a key file that stands alone, whatever is in its place."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tests.net.test_state import StateTestCase, counting_rng
from torpydo.crypto import KEY_SIZE, Secret, SigningKey
from torpydo.errors import StateError
from torpydo.net import StateDirectory, open_dh_key_file, open_key_file, read_dh_key_file
from torpydo.net.keyfile import decode_key, encode_key

SEED = bytes(range(KEY_SIZE))


class KeyFileTests(StateTestCase):
    """A scratch directory with a file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.below("service.key")

    def refused(self, *words: str, path: str | None = None) -> None:
        """It is no key file, nothing was drawn for one, and the error says which it is and what to do."""
        path = path or self.path

        def rng(count: int) -> bytes:
            return b"n" * count

        error = self.assertRaises(StateError, open_key_file, path, rng)
        for word in (path, *words):
            self.assertIn(word, str(error))
        self.assertEqual(self.temporary(), [])

    def temporary(self) -> list[str]:
        """What was left behind."""
        return [name for name in os.listdir(self.scratch) if name.startswith("service.key.")]

    def write(self, data: bytes, mode: int = 0o600) -> None:
        with open(self.path, "wb") as file:
            file.write(data)
        os.chmod(self.path, mode)


class MadeTests(KeyFileTests):
    """A file that is made, and read."""

    def test_made_and_read_again(self) -> None:
        """The first time a key is drawn; after that it is that one. Only its user can read it."""
        rng = counting_rng()
        made = open_key_file(self.path, rng)
        self.assertEqual(bytes(made.seed), b"\1" * KEY_SIZE)
        self.assertEqual(self.mode(self.path), 0o600)
        self.assertEqual(self.temporary(), [])
        self.assertEqual(open_key_file(self.path, rng).public, made.public)

    def test_the_directory_is_written_too(self) -> None:
        """When the key is used a power failure cannot take it away any more (SECURITY X2)."""
        written: list[bool] = []
        fsync = os.fsync

        def note(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self.assertTrue(os.path.samestat(os.fstat(descriptor), os.stat(self.scratch)))
                written.append(os.path.exists(self.path))
            fsync(descriptor)

        self.patch(os, "fsync", note)
        open_key_file(self.path, counting_rng())
        self.assertEqual(written, [True])

    def test_a_generous_umask(self) -> None:
        """The mode does not depend on it, in either direction."""
        for umask in (0, 0o077, 0o022):
            before = os.umask(umask)
            self.addCleanup(os.umask, before)
            open_key_file(self.path, counting_rng())
            self.assertEqual(self.mode(self.path), 0o600)
            os.unlink(self.path)
            os.umask(before)

    def test_the_content(self) -> None:
        """It is a key file as those of a state directory are."""
        self.write(encode_key(SEED))
        self.assertEqual(open_key_file(self.path, counting_rng()).public, SigningKey(Secret(SEED)).public)
        own = StateDirectory.open(self.below("state"))
        self.addCleanup(own.close)
        own.write("service.key", encode_key(SEED))
        self.assertEqual(own.signing_key("service.key", counting_rng()).public, SigningKey(Secret(SEED)).public)

    def test_relative_paths(self) -> None:
        """From where the program runs, and from the user's home."""
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.scratch)
        made = open_key_file("service.key", counting_rng())
        self.patch(os, "environ", {**os.environ, "HOME": self.scratch})
        self.assertEqual(open_key_file("~/service.key", counting_rng()).public, made.public)
        self.assertEqual(open_key_file(self.path, counting_rng()).public, made.public)

    def test_two_at_once(self) -> None:
        """Who comes second has the key of who came first, and nobody's file is written over."""
        made: list[SigningKey] = []

        def meanwhile(count: int) -> bytes:
            # After the first look, before the file is made.
            made.append(open_key_file(self.path, lambda size: b"f" * size))
            return b"s" * count

        second = open_key_file(self.path, meanwhile)
        self.assertEqual(bytes(made[0].seed), b"f" * KEY_SIZE)
        self.assertEqual(second.public, made[0].public)
        self.assertEqual(open_key_file(self.path, counting_rng()).public, made[0].public)
        self.assertEqual(self.temporary(), [])

    @given(st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE))
    def test_round_trip(self, seed: bytes) -> None:
        """What is encoded is decoded."""
        self.assertEqual(bytes(decode_key("path", encode_key(seed))), seed)

    @given(st.integers(0, len(encode_key(SEED)) - 1), st.integers(1, 255))
    def test_a_flipped_byte(self, place: int, change: int) -> None:
        """Wherever it is, the file is torn."""
        data = bytearray(encode_key(SEED))
        data[place] ^= change
        self.assertRaises(StateError, decode_key, "path", bytes(data))

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """Other bytes are a typed error that does not show them."""
        error = self.assertRaises(StateError, decode_key, "/some/path", data)
        self.assertIn("/some/path", str(error))


class ClientKeyTests(KeyFileTests):
    """The key by which a service knows a client."""

    def test_made_by_one_and_read_by_the_other(self) -> None:
        """It is the same key, and stays the same."""
        made = open_dh_key_file(self.path, counting_rng())
        self.assertEqual(read_dh_key_file(self.path).public, made.public)
        self.assertEqual(open_dh_key_file(self.path, counting_rng()).public, made.public)

    def test_reading_makes_none(self) -> None:
        """The service would not know it."""
        self.assertIn(self.path, str(self.assertRaises(StateError, read_dh_key_file, self.path)))
        self.assertFalse(os.path.exists(self.path))


class RefusedTests(KeyFileTests):
    """What is in its place."""

    def test_others_may_read_it(self) -> None:
        """Whoever can has the service."""
        for mode in (0o640, 0o604, 0o644, 0o620, 0o666):
            self.write(encode_key(SEED), mode)
            self.refused("chmod 600")

    def test_torn(self) -> None:
        """At every place, and with more behind it."""
        whole = encode_key(SEED)
        for data in (*(whole[:size] for size in range(len(whole))), whole + b"\n", whole * 100):
            self.write(data)
            self.refused("torn")

    def test_a_torn_file_stays(self) -> None:
        """It may be mended; a new key would be another service."""
        self.write(b"torn")
        self.refused("torn")
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), b"torn")

    def test_links(self) -> None:
        """To a key file, to nothing, to itself."""
        target = self.below("other")
        open_key_file(target, counting_rng())
        for where in (target, self.below("nothing"), self.path):
            os.symlink(where, self.path)
            self.refused("symbolic link")
            os.unlink(self.path)
        self.assertFalse(os.path.lexists(self.below("nothing")))

    def test_no_directory(self) -> None:
        """It is not made: a typing error would make one somewhere."""
        self.refused("make that directory", path=self.below("missing", "service.key"))
        self.write(b"")
        self.refused("is a file", path=os.path.join(self.path, "service.key"))

    def test_a_directory(self) -> None:
        """In the place of the file."""
        os.mkdir(self.path, 0o700)
        self.refused("not a regular file")

    def test_a_fifo_does_not_hang(self) -> None:
        """Nobody writes into it."""
        os.mkfifo(self.path, 0o600)
        self.refused("not a regular file")

    def test_a_socket(self) -> None:
        """Nor is that one."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            os.chmod(self.path, 0o600)
            self.refused()

    def test_a_directory_that_cannot_be_written(self) -> None:
        """What helps is said."""
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        os.chmod(self.scratch, stat.S_IRUSR | stat.S_IXUSR)
        self.addCleanup(os.chmod, self.scratch, 0o700)
        self.refused("give it to the user")

    def test_a_full_disk(self) -> None:
        """Nothing is left, and nothing is taken for a key later."""
        self.fails("fsync", OSError(28, "No space left on device"))
        self.refused("free some space")
        self.assertFalse(os.path.lexists(self.path))

    def fails(self, name: str, error: OSError) -> None:
        """Let a call of the system fail."""

        def call(*arguments: object) -> None:
            raise error

        made: Callable[..., None] = call
        self.patch(os, name, made)
