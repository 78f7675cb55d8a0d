"""Tests of ``python -m torpydo.testing.fuzz``: processes, what they find, and what is left when they are stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing.fuzz import TARGETS
from torpydo.testing.fuzz.__main__ import main
from torpydo.testing.fuzz.campaign import Outcome, Plan, line, run_all
from torpydo.testing.fuzz.corpus import input_name

# Stands in the place of atheris: what libFuzzer writes and how it ends, as it was seen. Its arguments are the same.
QUIET = """
import sys
options = dict(word[1:].split("=", 1) for word in sys.argv[2:] if word[0] == "-")
print("slowest input so far: 1.5 ms\\nslowest input so far: 2.5 ms")
print("stat::number_of_executed_units: " + options["runs"] + "\\nstat::peak_rss_mb:              90")
"""
FINDS = QUIET + """
open(options["artifact_prefix"] + "crash-1234", "wb").write(b"evil")
print("ValueError: what was found")
sys.exit(77)
"""
HANGS = """
import os, sys, time
open(sys.argv[-1] + "/../pid", "w").write(str(os.getpid()))
time.sleep(600)
"""


class CampaignTests(SynchronousTestCase):
    """Processes, a few at a time."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.outcomes: list[Outcome] = []

    def plan(self, program: str, *names: str, jobs: int = 2) -> Plan:
        """Run *program* in the place of atheris."""
        findings, scratch = self.directory / "findings", self.directory / "scratch"
        return Plan([TARGETS[name] for name in names], 7, jobs, scratch, findings, program)

    def test_every_entry_point_is_run(self) -> None:
        """Its line has the executions, the slowest input and the memory."""
        run_all(self.plan(QUIET, "message-end", "http-time", "text-key"), self.outcomes.append)
        self.assertEqual({one.target.name for one in self.outcomes}, {"message-end", "http-time", "text-key"})
        for one in self.outcomes:
            self.assertTrue(one.is_good)
            self.assertRegex(line(one), r"^[a-z-]+ +7 +\d+ +\d+ +2\.5 ms +90 MiB +none$")

    def test_a_finding_is_saved(self) -> None:
        """Under the name of its entry point and of its bytes, with the last words of the process."""
        run_all(self.plan(FINDS, "message-end"), self.outcomes.append)
        [one] = self.outcomes
        self.assertEqual(one.finding, self.directory / "findings" / f"message-end-{input_name(b'evil')}")
        assert one.finding is not None
        self.assertEqual(one.finding.read_bytes(), b"evil")
        self.assertIn("ValueError: what was found", one.words)
        self.assertIn(str(one.finding), line(one))

    def test_a_process_that_does_not_run_is_no_success(self) -> None:
        """It is told like a finding."""
        run_all(self.plan("raise SystemExit('no atheris here')", "message-end"), self.outcomes.append)
        [one] = self.outcomes
        self.assertFalse(one.is_good)
        self.assertIn("no atheris here", one.words)
        self.assertIn("it did not run", line(one))

    def test_an_interrupt_leaves_no_process(self) -> None:
        """Whatever ends the campaign ends its processes too."""
        pid_file = self.directory / "scratch" / "message-end" / "pid"

        def wait(ignored: float) -> None:
            if pid_file.exists() and pid_file.read_text():
                raise KeyboardInterrupt

        plan = self.plan(HANGS, "message-end", jobs=1)
        self.assertRaises(KeyboardInterrupt, run_all, plan, self.outcomes.append, wait=wait)
        self.assertRaises(ProcessLookupError, os.kill, int(pid_file.read_text()), 0)


class CommandTests(SynchronousTestCase):
    """What a person types."""

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Exit status, and what is said."""
        said = StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            try:
                status = main(arguments)
            except SystemExit as error:
                status = int(str(error.code))
        return status, said.getvalue()

    def test_without_atheris_it_says_what_to_install(self) -> None:
        """There is no traceback."""
        with patch.dict(sys.modules, {"atheris": None}):
            status, said = self.ask("message-end")
        self.assertEqual(status, 2)
        self.assertIn("pip install 'torpydo[fuzz]'", said)

    def test_an_unknown_entry_point(self) -> None:
        """Its name is told, and how to see the others."""
        status, said = self.ask("message-ends")
        self.assertEqual(status, 2)
        self.assertIn("there is no entry point message-ends; --list shows all", said)

    def test_the_list(self) -> None:
        """Each has a line and a sentence."""
        status, said = self.ask("--list")
        self.assertEqual((status, len(said.splitlines())), (0, len(TARGETS)))

    def test_the_help(self) -> None:
        """It ends well."""
        self.assertEqual(self.ask("--help")[0], 0)

    def test_seeds_that_are_there_are_not_written_again(self) -> None:
        """Nothing is new in a corpus that has them all."""
        self.assertEqual(self.ask("--seeds"), (0, ""))

    def test_saved_inputs_are_run_again(self) -> None:
        """Each says that nothing was found; a finding comes out as the exception that it is."""
        good = Path(self.mktemp())
        good.write_bytes(b"1800000000")
        self.assertEqual(self.ask("http-time", "--replay", str(good)), (0, f"{good}: nothing found\n"))
        self.assertEqual(self.ask("--replay", str(good))[0], 2)

    def test_one_entry_point_with_atheris(self) -> None:
        """``make fuzz`` runs this command. Instrumenting everything is what takes seconds."""
        if find_spec("atheris") is None:
            self.skipTest("atheris is not installed: pip install 'torpydo[fuzz]'")
        command = [sys.executable, "-m", "torpydo.testing.fuzz", "--runs=200", "message-end"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"message-end +200 .* none\n0 of 1 entry points have findings\n")
