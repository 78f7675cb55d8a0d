"""What an entry point is, and what counts as a finding (SECURITY V1).

An entry point feeds one parser as the product does and lets only the errors pass that the parser documents. Whatever
else comes out of it is a finding: another exception, an answer that breaks a promise, a traceback in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

__all__ = ["Finding", "Target", "require", "watched_log"]

LONGEST: Final = 4096
"""Bytes of an input, unless the target says otherwise: what a parser does with more is the same again."""


class Finding(AssertionError):
    """An input has shown a mistake."""


@attrs.frozen
class Target:
    """An entry point.

    :ivar name: lower case and hyphens; also the directory of its corpus
    :ivar run: feeds the parser with any bytes; raises nothing unless it has found something
    :ivar seeds: inputs made from real messages, so that the inside of the parser is reached at once
    :ivar longest: bytes of an input that are worth trying
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = LONGEST


def require(promise: bool, what: str) -> None:
    """Check something that must hold whatever the input was.

    :raises Finding: if it does not
    """
    if not promise:
        raise Finding(what)


@contextmanager
def watched_log() -> Iterator[None]:
    """Whatever is logged meanwhile must be no error, and no terminal may obey it (SECURITY I2).

    :raises Finding: at the end, for the first event that breaks this
    """
    found: list[str] = []

    @provider(ILogObserver)
    def look(event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if event.get("log_failure") is not None:
            found.append(f"logged: {event['log_failure'].getTraceback()}")
        elif level >= LogLevel.error:
            found.append(f"logged: {formatEvent(event)}")
        elif level >= LogLevel.info and not formatEvent(event).isprintable():
            found.append(f"logged with characters that a terminal obeys: {formatEvent(event)!r}")

    globalLogPublisher.addObserver(look)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(look)
    require(not found, found[0] if found else "")
