"""Tests of torpydo.cli.doctor.machine and torpydo.cli.doctor.names."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from torpydo import __version__
from torpydo.cli.doctor import machine
from torpydo.cli.doctor.findings import Finding, Findings, Verdict
from torpydo.cli.doctor.machine import Home, look_at_files, look_at_state, look_at_versions
from torpydo.cli.doctor.names import LooseResolver
from torpydo.crypto import Secret, SigningKey
from torpydo.net import StateDirectory

KEY = SigningKey(Secret(b"k" * 32))


class MachineTestCase(SynchronousTestCase):
    """Has a scratch directory, and findings."""

    def setUp(self) -> None:
        self.scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-")))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.findings = Findings()

    def only(self, verdict: Verdict) -> list[Finding]:
        """The findings of one kind."""
        return [one for one in self.findings.found if one.verdict is verdict]


class VersionTests(MachineTestCase):
    """Programs and processor."""

    def test_versions(self) -> None:
        """Those that somebody who helps will ask for."""
        look_at_versions(self.findings)
        said = self.findings.found[0].what
        for word in (f"torpydo {__version__}", "Python 3.", "Twisted 2", "PyNaCl 1."):
            self.assertIn(word, said)

    def test_processors(self) -> None:
        """One with the instructions, one without, and one of which nothing is known."""
        cpu = self.scratch / "cpuinfo"
        for text, verdict in (("flags : fpu aes avx\n", Verdict.OK), ("flags : fpu avx\n", Verdict.WARNING)):
            cpu.write_text(text)
            self.findings.found.clear()
            look_at_versions(self.findings, str(cpu))
            self.assertEqual(self.findings.found[-1].verdict, verdict)
        look_at_versions(self.findings, str(self.scratch / "missing"))
        self.assertIn("cannot be told", self.findings.found[-1].what)


class FileTests(MachineTestCase):
    """File descriptors."""

    def verdict(self, most: int, kind: str | None) -> Verdict:
        """What is said of such a limit."""
        self.patch(resource, "getrlimit", lambda which: (256, most))
        look_at_files(self.findings, Home(kind))
        return self.findings.found[-1].verdict

    def test_limits(self) -> None:
        """A node needs more than others; the limit that counts is the one up to which a process may go."""
        self.assertEqual(self.verdict(1023, None), Verdict.WARNING)
        self.assertEqual(self.verdict(1024, "pool"), Verdict.OK)
        self.assertEqual(self.verdict(1024, "node"), Verdict.WARNING)
        self.assertEqual(self.verdict(8192, "node"), Verdict.OK)
        self.assertEqual(self.verdict(resource.RLIM_INFINITY, "node"), Verdict.OK)


class StateTests(MachineTestCase):
    """The state directory (SECURITY X1, X3)."""

    def make(self, *names: str) -> str:
        """A directory with such keys."""
        path = str(self.scratch / "state")
        state = StateDirectory.open(path)
        for name in names:
            state.write_key(name, KEY.seed)
        state.close()
        return path

    def test_a_node(self) -> None:
        """It is named, and nothing changes, whether or not it runs."""
        path = self.make("node.key")
        running = StateDirectory.open(path)
        self.addCleanup(running.close)
        before = sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(path))
        home = look_at_state(self.findings, path)
        self.assertEqual((home.kind, home.node_id), ("node", KEY.node_id))
        self.assertIn(str(KEY.node_id), self.findings.found[-1].what)
        self.assertEqual(sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(path)), before)
        self.assertEqual(self.findings.status, 0)

    def test_others(self) -> None:
        """A pool, a client, and a directory that is not there yet, which is not made."""
        self.assertEqual(look_at_state(self.findings, self.make("pool.key")), Home("pool"))
        shutil.rmtree(self.scratch / "state")
        self.assertEqual(look_at_state(self.findings, self.make()), Home())
        self.assertEqual(look_at_state(self.findings, str(self.scratch / "missing")), Home())
        self.assertFalse((self.scratch / "missing").exists())
        self.assertEqual([one.verdict for one in self.findings.found], [Verdict.OK] * 3)

    def test_problems(self) -> None:
        """Each has its path, what helps, and the exit status for refused state."""
        path = self.make("node.key", "pool.key")
        os.chmod(Path(path, "node.key"), 0o640)
        Path(path, "pool.key").write_bytes(b"torn")
        look_at_state(self.findings, path)
        problems = self.only(Verdict.PROBLEM)
        self.assertTrue(any("chmod 600" in one.remedy and "node.key" in one.what for one in problems))
        self.assertTrue(any("pool.key" in one.what and "torn" in one.what for one in problems))
        self.assertEqual(self.findings.status, 4)
        self.findings.found.clear()
        os.chmod(path, 0o755)
        look_at_state(self.findings, path)
        [one] = self.findings.found
        self.assertEqual((one.verdict, one.remedy), (Verdict.PROBLEM, f"run chmod 700 {path}"))
        self.assertEqual(Path(path).stat().st_mode & 0o777, 0o755)

    def test_little_space(self) -> None:
        """A disk that is nearly full is told before something is lost."""
        path = self.make()
        self.patch(machine, "LITTLE_SPACE", 2**62)
        look_at_state(self.findings, path)
        [one] = self.only(Verdict.WARNING)
        self.assertIn("little space", one.what)


class Receiver:
    """Hears of addresses."""

    def __init__(self) -> None:
        self.done: Deferred[list[tuple[str, int]]] = Deferred()
        self.found: list[tuple[str, int]] = []

    def resolutionBegan(self, resolution: Any) -> None:
        """It has begun."""
        self.resolution = resolution

    def addressResolved(self, address: Any) -> None:
        """One more."""
        self.found.append((address.host, address.port))

    def resolutionComplete(self) -> None:
        """That was all."""
        self.done.callback(self.found)


class ResolverTests(SynchronousTestCase):
    """Names, in threads that nobody waits for."""

    def setUp(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def call_from_thread(self, *call: Any) -> None:
        """Like the reactor's."""
        self.threads.append(threading.current_thread())
        self.calls.append(call)
        self.called.release()

    def resolve(self, answer: list[Any] | Exception) -> Receiver:
        """Ask a resolver that answers this, and wait until it has."""

        def getaddrinfo(host: str, port: int, *, type: int) -> list[Any]:
            if isinstance(answer, Exception):
                raise answer
            return answer

        receiver = Receiver()
        LooseResolver(self.call_from_thread, getaddrinfo).resolveHostName(receiver, "pool.example.org", 80)
        self.assertTrue(self.called.acquire(timeout=10))
        return receiver

    def deliver(self) -> None:
        """What the reactor does with it."""
        for function, *arguments in self.calls:
            function(*arguments)

    def test_addresses(self) -> None:
        """Both kinds, with the port; anything else is left out."""
        receiver = self.resolve([
            (socket.AF_INET, 1, 6, "", ("192.0.2.1", 80)), (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 80, 0, 0)),
            (socket.AF_UNIX, 1, 6, "", "x"),
        ])  # fmt: skip
        self.assertNoResult(receiver.done)
        self.deliver()
        self.assertEqual(self.successResultOf(receiver.done), [("192.0.2.1", 80), ("2001:db8::1", 80)])

    def test_no_address(self) -> None:
        """The receiver hears that there is none."""
        receiver = self.resolve(socket.gaierror("no such name"))
        self.deliver()
        self.assertEqual(self.successResultOf(receiver.done), [])

    def test_nobody_waits(self) -> None:
        """The thread does not keep the program from ending, and an answer that comes too late is dropped."""
        receiver = self.resolve([(socket.AF_INET, 1, 6, "", ("192.0.2.1", 80))])
        receiver.resolution.cancel()
        self.deliver()
        self.assertNoResult(receiver.done)
        self.assertTrue(self.threads[0].daemon)
