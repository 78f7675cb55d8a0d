"""Tests of torpydo.cli.bench.torkeys: the programs that make keys are ended with whoever waits for them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_processes import ProcessReactor, Signals
from torpydo.cli.bench.together import together
from torpydo.cli.bench.torkeys import TorPrograms, make_authority, make_relay
from torpydo.cli.processes import ChildProcess
from torpydo.errors import TorpydoError

PROGRAMS = TorPrograms("/usr/bin/tor", "/usr/bin/tor-gencert")
FINGERPRINT = "EB85 8095 FCDF 466E 913D D56C AA04 68CF C4D9 8871"
V3IDENT = "0123456789ABCDEF0123456789ABCDEF01234567"


class Reactor(ProcessReactor):
    """Its processes obey."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: list[Signals] = []

    def spawnProcess(self, child: Any, executable: str, args: list[str], **options: Any) -> None:
        super().spawnProcess(child, executable, args, **options)
        self.signals.append(Signals(child, {"TERM"}))
        child.transport = self.signals[-1]


class KeysTests(SynchronousTestCase):
    """The keys of a private network."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.directory = FilePath(self.mktemp())
        self.directory.makedirs()

    def authority(self, name: str) -> Deferred[Any]:
        """Make the keys of an authority."""
        directory = self.directory.child(name)
        result = Deferred.fromCoroutine(make_authority(self.reactor, PROGRAMS, directory, or_port=1, dir_port=2))
        self.addCleanup(result.addErrback, lambda failure: failure.trap(CancelledError))
        self.addCleanup(result.cancel)
        return result

    def last(self) -> ChildProcess:
        """The program that was started last."""
        return self.reactor.started[-1][0]

    def test_the_passphrase_is_read_from_standard_input(self) -> None:
        """It is in no argument, which everybody may read."""
        self.authority("auth0")
        self.assertEqual(self.reactor.read, [b"bench\n"])
        self.assertNotIn("bench", self.reactor.started[0][1])

    def test_both_programs_one_after_the_other(self) -> None:
        """The certificate's fingerprint, and that of the relay which the authority is too."""
        result = self.authority("auth0")
        certificate = b"dir-key-certificate-version 3\nfingerprint " + V3IDENT.encode() + b"\n"
        self.directory.child("auth0").child("keys").child("authority_certificate").setContent(certificate)
        self.last().processEnded(Failure(ProcessDone(0)))
        self.assertNoResult(result)
        self.directory.child("fingerprint of auth0.log").setContent(b"Unnamed " + FINGERPRINT.encode() + b"\n")
        self.last().processEnded(Failure(ProcessDone(0)))
        authority = self.successResultOf(result)
        self.assertEqual((authority.fingerprint, authority.v3ident), (FINGERPRINT.replace(" ", ""), V3IDENT))

    def test_a_program_that_fails(self) -> None:
        """The error has its last line."""
        result = Deferred.fromCoroutine(make_relay(self.reactor, PROGRAMS, self.directory.child("relay0")))
        self.directory.child("fingerprint of relay0.log").setContent(b"[warn] no space\n[err] Reading config failed\n")
        self.last().processEnded(Failure(ProcessTerminated(exitCode=1)))
        error = self.failureResultOf(result, TorpydoError).value
        self.assertIn("/usr/bin/tor failed", str(error))
        self.assertIn("[err] Reading config failed", str(error))

    def test_ctrl_c(self) -> None:
        """Every program that runs is ended, and not before they are gone somebody hears of it."""
        names = ("auth0", "auth1", "auth2")
        directories = [self.directory.child(name) for name in names]
        result = Deferred.fromCoroutine(
            together(make_authority(self.reactor, PROGRAMS, place, or_port=1, dir_port=2) for place in directories)
        )
        self.assertEqual(len(self.reactor.started), 3)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(all("TERM" in signals.sent for signals in self.reactor.signals))
        self.assertTrue(all(child.ended_with is not None for child, _ in self.reactor.started))
