"""Run one coroutine on the reactor and turn how it ended into an exit status.

Ctrl-C cancels the coroutine instead of stopping the reactor, so what it opened is closed while the reactor still runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, TextIO

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
    textFileLogObserver,
)
from zope.interface import implementer

from torpydo.errors import TorpydoError
from torpydo.net import use_steady_clock

__all__ = ["Main", "Reactor", "end_of", "run_to_end"]

# Twisted's reactor provides more interfaces than one annotation can name.
Reactor = Any
Main = Callable[[Reactor], Coroutine[Any, Any, int]]


@implementer(ILogObserver)
@attrs.frozen
class LineObserver:
    """Write a log event as one line, without its traceback."""

    out: TextIO
    said: list[str] = attrs.field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        reason = "" if failure is None else f": {failure.getErrorMessage()}"
        line = f"torpydo: {formatEvent(event)}{reason}"
        self.said.append(line)
        print(line, file=self.out)


def _begin_logging(verbose: bool) -> list[str]:
    """Send the log to standard error.

    :returns: the lines that a person has seen so far; it grows
    """
    lines = LineObserver(sys.stderr)
    observer: ILogObserver
    if verbose:
        observer = textFileLogObserver(sys.stderr)
    else:
        observer = FilteringLogObserver(lines, [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    return lines.said


def end_of(
    result: Deferred[int], interrupted: Callable[[], int | None], err: TextIO, said: Sequence[str] = ()
) -> Deferred[int]:
    """Turn what the coroutine ended with into an exit status, and say what went wrong in one line.

    :param interrupted: gives the number of the signal that interrupted the coroutine, if one did
    :param said: lines that were printed already; what went wrong is not said twice
    """

    def ended(value: Any) -> Any:
        number = interrupted()
        if number is not None:
            print("torpydo: interrupted", file=err)
            return 128 + number
        if value.check(BrokenPipeError):
            return 1
        if value.check(TorpydoError):
            if not any(str(value.value) in line for line in said):
                print(f"torpydo: {value.value}", file=err)
            return value.value.exit_status
        return value

    return result.addErrback(ended)


def run_to_end(main: Main, *, verbose: bool) -> int:
    """Run *main* on the reactor.

    :returns: its exit status; 130 after Ctrl-C
    """
    caught: list[int] = []

    def start(reactor: Reactor) -> Deferred[None]:
        def caught_signal(number: int, frame: FrameType | None) -> None:
            caught.append(number)
            reactor.callFromThread(lambda: running.cancel())

        def catch_signals() -> None:
            signal.signal(signal.SIGINT, caught_signal)
            signal.signal(signal.SIGTERM, caught_signal)

        def leave(status: int) -> None:
            raise SystemExit(status)

        use_steady_clock(reactor)
        # Twice: before there is anything to clean up, and again because the reactor takes SIGTERM when it starts.
        catch_signals()
        reactor.callWhenRunning(catch_signals)
        running: Deferred[int] = Deferred.fromCoroutine(main(reactor))
        return end_of(running, lambda: caught[0] if caught else None, sys.stderr, said).addCallback(leave)

    said = _begin_logging(verbose)
    try:
        react(start)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 1
    except KeyboardInterrupt:
        return 130
