"""Tests of torpydo.cli.identity and torpydo.cli.backupfile."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import shutil
import stat
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli import identity
from torpydo.cli.backupfile import MAX_SIZE, Backup
from torpydo.crypto import Secret, SigningKey, document_hash
from torpydo.errors import ConfigurationError, StateError, TorpydoError
from torpydo.net import StateDirectory, open_key_file, read_dh_key_file
from torpydo.onion import OnionName, parse_client_key
from torpydo.pool import raise_sequence, saved_sequence

MADE = "2030-01-31T12:00:00Z"
KEY = SigningKey(Secret(b"k" * 32))
OTHER = SigningKey(Secret(b"o" * 32))


def plain(kind: str = "node") -> str:
    """A backup without a passphrase."""
    return Backup.make(kind, KEY, made=MADE, sequence=7, passphrase=None, rng=os.urandom).encode()


class FileTests(SynchronousTestCase):
    """The format."""

    def test_round_trip(self) -> None:
        """What was written is read, whatever kind it is."""
        for kind, public in (("node", KEY.node_id), ("pool", KEY.pool_id), ("service", OnionName.of(KEY))):
            backup = Backup.decode(plain(kind), "copy")
            self.assertEqual((backup.kind, backup.public, backup.made, backup.sequence, backup.is_sealed),
                             (kind, str(public), MADE, 7, False))  # fmt: skip
            self.assertEqual(backup.key(None, "copy").public, KEY.public)

    def test_the_secret_is_not_shown(self) -> None:
        """Neither as bytes nor as text."""
        shown = repr(Backup.decode(plain(), "copy"))
        self.assertNotIn("kkkk", shown)
        self.assertNotIn(plain().partition("key: ")[2][:20], shown)

    def test_sealed(self) -> None:
        """Only its passphrase opens it."""
        made = Backup.make("node", KEY, made=MADE, sequence=0, passphrase=Secret(b"tulip"), rng=os.urandom)
        read = Backup.decode(made.encode(), "copy")
        self.assertTrue(read.is_sealed)
        self.assertEqual(read.key(Secret(b"tulip"), "copy").public, KEY.public)
        for passphrase, word in ((None, "--passphrase-file"), (Secret(b"tulips"), "passphrase is not the one")):
            error = self.assertRaises(StateError, read.key, passphrase, "copy")
            self.assertIn(word, str(error))

    def test_without_the_memory(self) -> None:
        """Argon2id takes a lot; that is no mistake of torpydo's, and there is something to do about it."""
        made = Backup.make("node", KEY, made=MADE, sequence=0, passphrase=Secret(b"tulip"), rng=os.urandom)

        def poor(*arguments: object, **options: object) -> bytes:
            raise NaClRuntimeError("no memory")

        self.patch(argon2id, "kdf", poor)
        opened = self.assertRaises(StateError, made.key, Secret(b"tulip"), "copy")
        sealed = self.assertRaises(
            StateError, Backup.make, "node", KEY, made=MADE, sequence=0, passphrase=Secret(b"tulip"), rng=os.urandom
        )
        for error in (opened, sealed):
            self.assertIn("256 MiB; end what uses it", str(error))
            self.assertEqual(error.exit_status, 4)

    @given(st.data())
    def test_one_character_that_differs(self, data: st.DataObject) -> None:
        """A copy with one character changed, lost or too many is refused, and says so."""
        text = plain()
        place = data.draw(st.integers(0, len(text) - 2))
        char = data.draw(st.sampled_from("abcxyz019:-\n \u00e9"))
        for wrong in (text[:place] + char + text[place + 1 :], text[:place] + text[place + 1 :],
                      text[:place] + char + text[place:]):  # fmt: skip
            if wrong != text:
                error = self.assertRaises(StateError, Backup.decode, wrong, "copy")
                self.assertTrue(str(error).startswith("copy: "))

    @given(st.text(max_size=300))
    def test_anything_else(self, text: str) -> None:
        """What is no backup is refused in the same way."""
        self.assertRaises(StateError, Backup.decode, text, "copy")
        self.assertRaises(StateError, Backup.decode, "torpydo backup 1\n" + text, "copy")

    def test_a_key_that_is_no_base32(self) -> None:
        """A whole copy that nobody could have made is called damaged too."""
        body = plain().partition("check: ")[0].removesuffix("\n") + "aa\n"
        text = f"{body}check: {document_hash(body.encode()).hex()}\n"
        self.assertIn("damaged", str(self.assertRaises(StateError, Backup.decode, text, "copy")))

    def test_a_later_version(self) -> None:
        """It is not called damaged."""
        error = self.assertRaises(StateError, Backup.decode, plain().replace("backup 1", "backup 2"), "copy")
        self.assertIn("later version", str(error))

    def test_a_key_of_another(self) -> None:
        """Whole, but put together from two copies."""
        forged = Backup("node", str(OTHER.node_id), MADE, 0, False, bytes(KEY.seed)).encode()
        error = self.assertRaises(StateError, Backup.decode(forged, "copy").key, None, "copy")
        self.assertIn(f"not that of {OTHER.node_id}", str(error))
        short = Backup("node", str(KEY.node_id), MADE, 0, False, bytes(KEY.seed) + b"x").encode()
        self.assertRaises(StateError, Backup.decode(short, "copy").key, None, "copy")


class CommandTests(SynchronousTestCase):
    """The command, on real directories."""

    def setUp(self) -> None:
        self.scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-")))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.copy = self.scratch / "copy"
        self.errors = ""

    def run_command(self, *words: object) -> str:
        """What ``torpydo identity`` prints."""
        parser = argparse.ArgumentParser()
        identity.arguments(parser)
        options = parser.parse_args([str(word) for word in words])
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            asked = Deferred.fromCoroutine(identity.run(None, options))
        ended: list[object] = []
        asked.addBoth(ended.append)
        if isinstance(ended[0], Failure):
            ended[0].raiseException()
        self.assertEqual(ended, [0])
        self.errors = err.getvalue()
        return out.getvalue()

    def refused(self, *words: object, error: type[TorpydoError] = StateError) -> str:
        """The one sentence that it says instead."""
        return str(self.assertRaises(error, self.run_command, *words))

    def state(self, name: str, *keys: str, key: SigningKey = KEY) -> str:
        """A state directory with such key files."""
        path = str(self.scratch / name)
        directory = StateDirectory.open(path)
        for one in keys:
            directory.write_key(one, key.seed)
        directory.close()
        return path

    def seed(self, path: str, name: str) -> bytes:
        """The key in a directory."""
        directory = StateDirectory.look(path)
        self.addCleanup(directory.close)
        return bytes(directory.read_key(name) or b"")

    def test_show(self) -> None:
        """What others call it."""
        self.assertEqual(self.run_command("show", "--state-dir", self.state("n", "node.key")), f"node {KEY.node_id}\n")
        self.assertEqual(self.run_command("show", "--state-dir", self.state("p", "pool.key")), f"pool {KEY.pool_id}\n")

    def test_the_key_of_a_client(self) -> None:
        """Made once; what is printed is for the operator of a service, and no secret."""
        file = self.scratch / "me.client"
        printed = self.run_command("client", file)
        self.assertEqual(self.run_command("client", file), printed)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(parse_client_key(printed.strip()), read_dh_key_file(str(file)).public)
        self.refused("client", self.scratch)

    def test_a_service(self) -> None:
        """It has its name again from a copy, whoever has made its key file."""
        path = self.state("s")
        name = str(OnionName.of(open_key_file(f"{path}/service.key", os.urandom)))
        self.assertEqual(self.run_command("show", "--state-dir", path), f"service {name}\n")
        self.run_command("backup", "--state-dir", path, self.copy)
        self.assertIn(f"service {name}\n", self.run_command("show", self.copy))
        self.run_command("restore", self.copy, "--state-dir", self.scratch / "new")
        restored = open_key_file(str(self.scratch / "new" / "service.key"), os.urandom)
        self.assertEqual(str(OnionName.of(restored)), name)

    def test_show_a_copy(self) -> None:
        """It says what is in it, and that it is whole; the secret is not shown."""
        self.copy.write_text(plain())
        said = self.run_command("show", self.copy)
        self.assertEqual(said, f"node {KEY.node_id}\nbackup of {MADE}\n")
        self.copy.write_text(plain()[:-3])
        self.assertIn("damaged", self.refused("show", self.copy))

    def test_show_what(self) -> None:
        """One of the two, not both and not none."""
        self.refused("show", error=ConfigurationError)
        self.refused("show", self.copy, "--state-dir", self.scratch, error=ConfigurationError)

    def test_show_and_backup_change_nothing(self) -> None:
        """They read a directory that is in use, and make none."""
        path = self.state("n", "node.key")
        running = StateDirectory.open(path)
        self.addCleanup(running.close)
        before = sorted(os.listdir(path))
        self.run_command("show", "--state-dir", path)
        self.run_command("backup", "--state-dir", path, self.copy)
        self.assertEqual(sorted(os.listdir(path)), before)
        self.refused("show", "--state-dir", self.scratch / "missing")
        self.assertFalse((self.scratch / "missing").exists())

    def test_there_and_back(self) -> None:
        """A restored directory has the identity, and only its owner may read it (SECURITY X4)."""
        for kind in ("node", "pool", "service"):
            copy, new = self.scratch / f"{kind}.backup", self.scratch / "new" / kind
            self.run_command("backup", "--state-dir", self.state(kind, f"{kind}.key"), copy)
            self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0o600)
            self.assertIn("can pretend to be this", self.errors)
            self.assertIn("restored to", self.run_command("restore", copy, "--state-dir", new))
            self.assertEqual(self.seed(str(new), f"{kind}.key"), bytes(KEY.seed))
            self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in new.iterdir()}, {0o600})

    def test_a_passphrase(self) -> None:
        """It is the first line of a file; with it there is nothing to warn of."""
        words = self.scratch / "words"
        words.write_text("tulip\nand more\n")
        self.run_command("backup", "--state-dir", self.state("n", "node.key"), self.copy, "--passphrase-file", words)
        self.assertEqual(self.errors, "")
        self.assertIn("sealed with a passphrase", self.run_command("show", self.copy))
        new = self.scratch / "new"
        self.assertIn("--passphrase-file", self.refused("restore", self.copy, "--state-dir", new))
        self.assertFalse(new.exists())
        self.run_command("restore", self.copy, "--state-dir", new, "--passphrase-file", words)
        self.assertEqual(self.seed(str(new), "node.key"), bytes(KEY.seed))
        words.write_text("\n")
        self.refused("restore", self.copy, "--state-dir", new, "--passphrase-file", words, error=ConfigurationError)

    def test_the_sequence_of_a_pool(self) -> None:
        """A pool that was restored never signs a listing that clients have to refuse (SECURITY N3)."""
        path = self.state("p", "pool.key")
        (database := Path(path, "pool.db")).touch(mode=0o600)
        raise_sequence(str(database), 12_345)
        self.run_command("backup", "--state-dir", path, self.copy)
        new = self.scratch / "new"
        self.run_command("restore", self.copy, "--state-dir", new)
        self.assertEqual(saved_sequence(str(new / "pool.db")), 12_345)
        # It never goes back either.
        raise_sequence(str(new / "pool.db"), 99_999)
        self.run_command("restore", self.copy, "--state-dir", new)
        self.assertEqual(saved_sequence(str(new / "pool.db")), 99_999)

    def test_another_identity_is_never_overwritten(self) -> None:
        """Of whichever kind it is; the sentence names it."""
        self.copy.write_text(plain())
        for name, public in (("node.key", OTHER.node_id), ("pool.key", OTHER.pool_id)):
            path = self.state(name, name, key=OTHER)
            said = self.refused("restore", self.copy, "--state-dir", path)
            self.assertIn(str(public), said)
            self.assertEqual(self.seed(path, name), bytes(OTHER.seed))
        path = self.state("same", "pool.key")
        self.assertIn("another identity", self.refused("restore", self.copy, "--state-dir", path))

    def test_the_same_identity_does_no_harm(self) -> None:
        """A second restore changes nothing and says so."""
        self.copy.write_text(plain())
        path = self.state("n", "node.key")
        self.assertIn("is already in", self.run_command("restore", self.copy, "--state-dir", path))
        self.assertEqual(self.seed(path, "node.key"), bytes(KEY.seed))

    def test_a_directory_in_use(self) -> None:
        """A node that runs would not notice."""
        self.copy.write_text(plain())
        running = StateDirectory.open(str(self.scratch / "n"))
        self.addCleanup(running.close)
        said = self.refused("restore", self.copy, "--state-dir", self.scratch / "n")
        self.assertIn("another process is using it", said)
        self.assertIsNone(running.read("node.key"))

    def test_a_torn_key_is_not_overwritten(self) -> None:
        """Whoever restores decides what becomes of it."""
        self.copy.write_text(plain())
        path = self.state("n", "node.key")
        torn = Path(path, "node.key").read_bytes()[:-1]
        Path(path, "node.key").write_bytes(torn)
        self.assertIn("torn", self.refused("restore", self.copy, "--state-dir", path))
        self.assertIn("torn", self.refused("backup", "--state-dir", path, self.scratch / "other"))
        self.assertEqual(Path(path, "node.key").read_bytes(), torn)

    def test_what_cannot_be_copied(self) -> None:
        """No key, two keys, a directory that others may read."""
        said = self.refused("show", "--state-dir", self.state("empty"))
        self.assertIn("no node.key and no pool.key and no service.key", said)
        two = self.state("two", "node.key", "pool.key")
        self.assertIn("a node and of a pool;", self.refused("show", "--state-dir", two))
        path = self.state("open", "node.key")
        os.chmod(path, 0o755)
        self.assertIn("chmod 700", self.refused("backup", "--state-dir", path, self.copy))
        self.assertFalse(self.copy.exists())

    def test_a_file_that_is_there_stays(self) -> None:
        """A copy never takes the place of another file, nor follows a link."""
        path = self.state("n", "node.key")
        self.copy.write_text("dear diary")
        self.assertIn("File exists", self.refused("backup", "--state-dir", path, self.copy))
        self.assertEqual(self.copy.read_text(), "dear diary")
        (self.scratch / "link").symlink_to(self.scratch / "target")
        self.refused("backup", "--state-dir", path, self.scratch / "link")
        self.assertFalse((self.scratch / "target").exists())

    def test_what_cannot_be_written_or_read(self) -> None:
        """Each sentence ends with what helps."""
        path = self.state("n", "node.key")
        (self.scratch / "file").touch()
        for copy, words in (("copy", "or move that one away"), ("no/copy", "make the directory first"),
                            ("file/copy", "name a directory")):  # fmt: skip
            self.copy.touch()
            self.assertIn(words, self.refused("backup", "--state-dir", path, self.scratch / copy))
        self.assertIn("check the name", self.refused("show", self.scratch / "missing"))
        self.assertIn("name the file in it", self.refused("show", self.scratch))

    def test_where_a_user_may_not(self) -> None:
        """The user of a service has one directory, and what root keeps is not hers."""
        path, home = self.state("n", "node.key"), self.scratch / "home"
        self.copy.touch()
        opened = os.open

        def forbidden(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if str(name).startswith(str(home)):
                raise PermissionError(13, "Permission denied")
            return opened(name, flags, mode, dir_fd=dir_fd)

        self.patch(os, "open", forbidden)
        said = self.refused("backup", "--state-dir", path, home / "copy")
        self.assertIn("Permission denied; name a file where the user who runs this may write", said)
        self.patch(builtins, "open", lambda name, mode: forbidden(name, 0))
        said = self.refused("restore", home / "copy", "--state-dir", path)
        self.assertIn("Permission denied; give the file to the user who runs this", said)

    def test_a_disk_that_is_full(self) -> None:
        """No half of a copy is left behind."""

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        path = self.state("n", "node.key")
        self.patch(os, "fsync", full)
        self.assertIn("No space left", self.refused("backup", "--state-dir", path, self.copy))
        self.assertFalse(self.copy.exists())

    def test_a_file_that_is_no_copy(self) -> None:
        """Nothing is made before it is known to be good."""
        new = self.scratch / "new"
        for content in (b"", b"dear diary", b"\xff" * 100, b"x" * (MAX_SIZE + 1)):
            self.copy.write_bytes(content)
            self.refused("restore", self.copy, "--state-dir", new)
        self.refused("restore", self.scratch / "missing", "--state-dir", new)
        self.assertFalse(new.exists())
