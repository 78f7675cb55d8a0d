"""Runs entry points under atheris, a few at a time, each for so many executions, and says what came of it.

Corpora are copied to a scratch directory, where they grow; an input that is a finding is saved under a name of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Final

import attrs

from torpydo.testing.fuzz.corpus import CORPUS, input_name, keep, load
from torpydo.testing.fuzz.execution import SLOWEST, START
from torpydo.testing.fuzz.target import Target

__all__ = ["Outcome", "Plan", "heading", "line", "run_all"]

INPUT_TIME: Final = 10
"""Seconds for one input; whoever takes longer is in an endless loop. The bound itself is that of ``execution``."""
MOST_RSS: Final = 1024
"""MiB of a process, so that what grows slowly ends too."""
STOP_TIME: Final = 5.0
"""Seconds that a process has to end when it is told to."""
LAST_WORDS: Final = 25
"""Lines of a process that has found something, which are shown."""


@attrs.frozen
class Plan:
    """What is to be run.

    :ivar runs: executions of each entry point
    :ivar jobs: processes at a time
    :ivar scratch: where corpora grow
    :ivar findings: where inputs that show a mistake are saved
    :ivar program: what each process runs; for tests
    """

    targets: Sequence[Target]
    runs: int
    jobs: int
    scratch: Path
    findings: Path
    program: str = START


@attrs.frozen
class Outcome:
    """What came of one entry point.

    :ivar finding: the saved input, if one shows a mistake
    :ivar words: what the process said at last, if it did not end well
    """

    target: Target
    executions: int
    seconds: float
    slowest: float
    peak: int
    finding: Path | None = None
    words: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing was found."""
        return not self.words


def heading() -> str:
    """The first line of the table."""
    titles = ("executions", 10), ("seconds", 8), ("a second", 9), ("slowest", 9), ("peak RSS", 9)
    return " ".join((f"{'entry point':26}", *(f"{title:>{width}}" for title, width in titles), " findings"))


def line(outcome: Outcome) -> str:
    """A line of the table."""
    rate = outcome.executions / max(outcome.seconds, 1e-6)
    found = "none" if outcome.is_good else str(outcome.finding or "it did not run")
    return (
        f"{outcome.target.name:26} {outcome.executions:10} {outcome.seconds:8.0f} {rate:9.0f} {outcome.slowest:6.1f} ms"
        f" {outcome.peak:5} MiB  {found}"
    )


@attrs.define(eq=False)
class _Running:
    """One process."""

    target: Target
    process: subprocess.Popen[bytes]
    directory: Path
    log: IO[bytes]
    began: float

    def stop(self) -> None:
        """End it now."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def _start(plan: Plan, target: Target) -> _Running:
    directory = plan.scratch / target.name
    corpus = directory / "corpus"
    keep(corpus, target.seeds())
    keep(corpus, load(target, CORPUS))
    for old in directory.glob("*-*"):
        # What an earlier run has found, and saved elsewhere.
        old.unlink()
    options = {
        "runs": plan.runs,
        "max_len": target.longest,
        "timeout": INPUT_TIME,
        "rss_limit_mb": MOST_RSS,
        "print_final_stats": 1,
        "artifact_prefix": f"{directory}/",
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", plan.program, target.name, *arguments, str(corpus)],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return _Running(target, process, directory, log, monotonic())


def _number(pattern: str, said: str) -> float:
    found = re.findall(pattern, said)
    return float(found[-1]) if found else 0.0


def _finished(plan: Plan, running: _Running) -> Outcome:
    running.log.close()
    said = (running.directory / "log").read_text(errors="replace")
    finding = None
    # What libFuzzer has written (crash-…, timeout-…, oom-…) and the entry point's own bounds.
    for artifact in running.directory.glob("*-*"):
        data = artifact.read_bytes()
        plan.findings.mkdir(parents=True, exist_ok=True)
        finding = plan.findings / f"{running.target.name}-{input_name(data)}"
        finding.write_bytes(data)
    status = running.process.returncode
    last = [*said.splitlines()[-LAST_WORDS:], f"exit status {status}"]
    return Outcome(
        target=running.target,
        executions=int(_number(r"stat::number_of_executed_units:\s+([0-9]+)", said)),
        seconds=monotonic() - running.began,
        slowest=_number(re.escape(SLOWEST) + r"([0-9.]+) ms", said),
        peak=int(_number(r"stat::peak_rss_mb:\s+([0-9]+)", said)),
        finding=finding,
        words="\n".join(last) if status or finding else "",
    )


def run_all(
    plan: Plan, tell: Callable[[Outcome], object], *, wait: Callable[[float], object] = sleep
) -> None:
    """Run everything; no process is left behind, however this ends.

    :param tell: is given each outcome as soon as it is there
    :param wait: lets so many seconds pass between two looks
    """
    waiting = list(plan.targets)
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < plan.jobs:
                running.append(_start(plan, waiting.pop(0)))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                tell(_finished(plan, one))
            wait(0.1)
    finally:
        for one in running:
            one.stop()
