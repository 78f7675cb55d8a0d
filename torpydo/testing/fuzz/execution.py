"""One entry point under atheris, in a process of its own: bounded in time and memory for each input (SECURITY V1).

The process is started with :data:`START`, which lets atheris instrument torpydo before any of it is imported, but for
what stands around the parsers: new paths in that are no reason to keep an input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Any, Final

from twisted.logger import globalLogBeginner

from torpydo.testing.fuzz import TARGETS
from torpydo.testing.fuzz.target import require

__all__ = ["SLOWEST", "START", "bounded", "main"]

MOST_SECONDS: Final = 0.05
"""Of the processor for one input, instrumented."""
MOST_MEMORY: Final = 64 * 1024
"""KiB that the peak of the process may rise by with one input."""
SLOWEST: Final = "slowest input so far: "
"""Begins a line that says so, in milliseconds."""
START: Final = """
import atheris
with atheris.instrument_imports(include=["torpydo"], exclude=["torpydo.testing"]):
    from torpydo.testing.fuzz.execution import main
main()
"""


def _peak() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss


def bounded(
    run: Callable[[bytes], None],
    tell: Callable[[str], object],
    save: Callable[[bytes], object],
    *,
    clock: Callable[[], float] = process_time,
    peak: Callable[[], int] = _peak,
) -> Callable[[bytes], None]:
    """An entry point that fails if an input takes too long or too much memory.

    :param tell: is given a line whenever an input was much slower than all before it
    :param save: is given an input that is a finding; libFuzzer saves it too, if the process still lets it
    :param clock: seconds of the processor
    :param peak: KiB that the process ever had
    """
    slowest = 0.001

    def timed(data: bytes) -> float:
        began = clock()
        run(data)
        return clock() - began

    def look(data: bytes) -> None:
        try:
            measure(data)
        except BaseException:
            save(data)
            raise

    def measure(data: bytes) -> None:
        nonlocal slowest
        memory = peak()
        seconds = timed(data)
        require(peak() - memory <= MOST_MEMORY, f"an input takes more than {MOST_MEMORY} KiB")
        if seconds > slowest:
            # A single time may be that of the garbage collector, or of a cache that was empty.
            seconds = min(seconds, timed(data), timed(data))
        require(seconds <= MOST_SECONDS, f"an input takes {seconds * 1000:.0f} ms of the processor")
        if seconds > 1.25 * slowest:
            slowest = seconds
            tell(f"{SLOWEST}{seconds * 1000:.1f} ms\n")

    return look


def main() -> None:
    """Fuzz the entry point that the first argument names; the others are libFuzzer's. Does not return."""
    name, *options = sys.argv[1:]
    # Nobody reads the log here, but the entry points look at what is written to it.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    atheris: Any = import_module("atheris")
    [prefix] = [option.partition("=")[2] for option in options if option.startswith("-artifact_prefix=")]
    save = Path(f"{prefix}input-that-fails").write_bytes
    atheris.Setup([name, *options], bounded(TARGETS[name].run, sys.stderr.write, save))
    atheris.Fuzz()
