"""Directories that hold no state of ours: each command ends at once, with status 4 and what to do (SECURITY X1).

tests/net/test_state has all layouts; here are those that an operator meets, as processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import BIN, ENVIRONMENT, LOOPBACK
from torpydo.crypto import SigningKey

POOL = f"--pool=http://{LOOPBACK}:1/#{SigningKey(bytes(32)).pool_id}"
LISTEN = f"--listen=tcp:0:interface={LOOPBACK}"
SERVICES = {
    "torpydo-pool": (LISTEN,),
    "torpydo-node": (LISTEN, f"--advertise={LOOPBACK}:1", POOL),
    "torpydo-client": (POOL, f"--socks=tcp:0:interface={LOOPBACK}", "--http="),
}
REFUSED = 4
"""The exit status (SECURITY Z3)."""
AT_ONCE = 1.0
"""Seconds of work beyond what it takes to load the program; a clock on the wall would measure the machine."""


def read_only(path: Path) -> None:
    """A directory in which nothing can be made."""
    path.mkdir(mode=0o500)


def of_somebody_else(path: Path) -> None:
    """A directory of another user."""
    path.mkdir(mode=0o700)
    os.chown(path, os.geteuid() + 1, -1)


def linked(path: Path) -> None:
    """A link to a good directory."""
    target = path.with_name("target")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


def readable_by_others(path: Path) -> None:
    """A directory with the mode that most have."""
    path.mkdir(mode=0o700)
    path.chmod(0o755)


def missing_for_good(path: Path) -> None:
    """A directory below a disk that is not there."""
    path.parent.rmdir()
    path.parent.symlink_to("gone")


def in_a_shared_one(path: Path) -> None:
    """A directory in one where everybody may rename it."""
    path.parent.chmod(0o777)


class RefusedStateTests(SynchronousTestCase):
    """The three services."""

    def setUp(self) -> None:
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="torpydo-refused-")))
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Run twistd."""
        return subprocess.Popen(
            [str(BIN / "twistd"), *command], cwd=self.directory, env=ENVIRONMENT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def end_of(self, process: subprocess.Popen[str]) -> tuple[int, str, float]:
        """Its exit status, what it said, and the seconds of work that it took."""
        assert process.stdout is not None
        with process.stdout as output:
            said = output.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, said, usage.ru_utime + usage.ru_stime

    def test_each_service(self) -> None:
        """Status 4, the path, the remedy, no traceback, and no time wasted."""
        cases: list[tuple[str, Callable[[Path], None], str]] = [
            ("torpydo-pool", read_only, "run chmod 700"),
            ("torpydo-node", linked, "name what it points to"),
            ("torpydo-client", readable_by_others, "run chmod 700"),
            ("torpydo-pool", missing_for_good, "make that directory"),
            ("torpydo-node", in_a_shared_one, "run chmod go-w"),
        ]
        if os.geteuid() == 0:
            cases.append(("torpydo-client", of_somebody_else, "run torpydo as that user"))
        loading = {service: self.start(service, "--help") for service in SERVICES}
        running = []
        for number, (service, make, remedy) in enumerate(cases):
            state = self.directory / str(number) / "state"
            state.parent.mkdir(mode=0o700)
            make(state)
            process = self.start("-n", "--pidfile=", service, f"--state-dir={state}", *SERVICES[service])
            running.append((process, service, state, remedy))
        work = {service: self.end_of(process)[2] for service, process in loading.items()}
        for process, service, state, remedy in running:
            status, said, took = self.end_of(process)
            self.assertEqual(status, REFUSED, said)
            self.assertIn(str(state), said)
            self.assertIn(remedy, said)
            self.assertNotIn("Traceback", said)
            self.assertLess(took - work[service], AT_ONCE)
