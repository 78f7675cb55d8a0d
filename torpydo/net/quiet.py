"""A log that nobody can fill: ten lines a minute of each kind, and then how many more there were (SECURITY I2).

Strangers can cause the same line again and again, and not only with what this project logs: a connection that cannot
be accepted is a line of Twisted's. So the limit is where lines leave the process. Called by the main programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, LogPublisher
from zope.interface import implementer

__all__ = ["LIMITED", "QuietObserver", "keep_quiet"]

MOST: Final = 10
"""Lines of one kind ..."""
PERIOD: Final = 60.0
"""... in so many seconds."""
MAX_KINDS: Final = 1000
"""Kinds that are remembered. They are lines of code, so there are fewer."""
_ABOUT: Final = ("log_level", "log_namespace", "log_time", "log_logger", "log_system")
LIMITED: Final = "torpydo_limited"
"""A key of an event that has been through a limit already, its own or in another process."""


@attrs.define(eq=False)
class _Kind:
    began: float
    lines: int = 0
    left_out: int = 0


@implementer(ILogObserver)
class QuietObserver:
    """Hands on the first lines of each kind. Which kind a line is of says where it is logged, never what is in it.

    :param observer: writes the lines
    :param clock: seconds that never go back
    """

    def __init__(self, observer: ILogObserver, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock
        self._kinds: dict[Any, _Kind] = {}

    def __call__(self, event: LogEvent) -> None:
        # What ends a process is said whatever was said before. A traceback is critical for Twisted, and ends nothing.
        ends = event.get("log_level") is LogLevel.critical and "log_failure" not in event
        if ends or LIMITED in event or self._may_be_said(event):
            self._observer(event)

    def _may_be_said(self, event: LogEvent) -> bool:
        name = event.get("log_namespace"), event.get("log_format")
        now = self._clock()
        kind = self._kinds.get(name)
        if kind is None or now - kind.began >= PERIOD:
            if kind is not None and kind.left_out:
                self._tell(event, kind.left_out)
            self._kinds.pop(name, None)
            if len(self._kinds) >= MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[name] = _Kind(now)
        kind.lines += 1
        kind.left_out += kind.lines > MOST
        return kind.lines <= MOST

    def _tell(self, event: LogEvent, count: int) -> None:
        """Before the next line of that kind, which may come much later."""
        told: LogEvent = {name: event[name] for name in _ABOUT if name in event}
        told |= {"log_format": "{count} more lines like the next were left out", "count": count}
        self._observer(told)


def keep_quiet(publisher: LogPublisher, clock: Callable[[], float]) -> None:
    """Put a limit before each observer that *publisher* has now."""
    # Twisted has no other way to reach those that twistd has made of its options.
    for observer in list(publisher._observers):
        publisher.removeObserver(observer)
        publisher.addObserver(QuietObserver(observer, clock))
