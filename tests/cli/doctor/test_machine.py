"""Tests of torpydo.cli.doctor.machine."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torpydo import __version__
from torpydo.cli.backupfile import KEY_FILES
from torpydo.cli.doctor import machine
from torpydo.cli.doctor.findings import Finding, Findings, Verdict
from torpydo.cli.doctor.machine import Home, is_used, look_at_files, look_at_state, look_at_versions
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
        self.assertIn("that this shell starts", self.findings.found[-1].what)

    def test_what_runs_says_its_own(self) -> None:
        """Then the shell's does not count."""
        self.patch(resource, "getrlimit", lambda which: (256, resource.RLIM_INFINITY))
        look_at_files(self.findings, Home("node"), 1024)
        [found] = self.only(Verdict.WARNING)
        self.assertIn("what runs with this state directory may have 1024", found.what)


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
        """A pool, a service, a client, and a directory that is not there, which is not made, and may be a slip."""
        for kind in ("service", "pool"):
            self.assertEqual(look_at_state(self.findings, self.make(f"{kind}.key")), Home(kind))
            shutil.rmtree(self.scratch / "state")
        self.assertEqual(look_at_state(self.findings, self.make()), Home())
        self.assertEqual(look_at_state(self.findings, str(self.scratch / "missing")), Home())
        self.assertFalse((self.scratch / "missing").exists())
        self.assertEqual([one.verdict for one in self.findings.found], [Verdict.OK] * 3 + [Verdict.WARNING])
        self.assertIn("mistyped", self.findings.found[-1].cause)
        self.assertEqual(self.findings.status, 0)

    def test_where_nobody_may_look(self) -> None:
        """A directory below one that cannot be searched may be there or not: that is a problem."""
        path = self.make("node.key")

        def denied(path: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(os, "lstat", denied)
        self.assertEqual(look_at_state(self.findings, path), Home())
        [one] = self.findings.found
        self.assertEqual(one.verdict, Verdict.PROBLEM)
        self.assertIn("Permission denied", one.what)
        self.assertEqual(self.findings.status, 4)

    def test_causes(self) -> None:
        """Who may change a key, a key that is damaged, and a disk that fails are three things, each said once."""
        path = self.make("node.key", "pool.key")
        os.chmod(Path(path, "node.key"), 0o640)
        Path(path, "pool.key").write_bytes(b"torn")
        look_at_state(self.findings, path)
        causes = {Path(one.what.partition(":")[0]).name: one.cause for one in self.only(Verdict.PROBLEM)}
        self.assertIn("could become this node", causes["node.key"])
        self.assertIn("not what was written", causes["pool.key"])
        self.assertEqual(len(self.only(Verdict.PROBLEM)), 2)
        self.findings.found.clear()
        os.chmod(Path(path, "node.key"), 0o600)

        def broken(*arguments: object, **options: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        state = StateDirectory.look(path)
        self.patch(StateDirectory, "look", lambda path: state)
        self.patch(os, "open", broken)
        look_at_state(self.findings, path)
        for one in self.only(Verdict.PROBLEM):
            self.assertIn("Input/output error", one.what)
            self.assertIn("or the disk", one.cause)
        self.assertEqual(len(self.only(Verdict.PROBLEM)), len(KEY_FILES))

    def test_is_used(self) -> None:
        """As far as that can be told, and without keeping anybody out."""
        path = str(self.scratch / "state")
        self.assertIs(is_used(path), False)
        running = StateDirectory.open(path)
        self.assertIs(is_used(path), True)
        running.close()
        self.assertIs(is_used(path), False)
        os.chmod(path, 0o755)
        self.assertIsNone(is_used(path))

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
