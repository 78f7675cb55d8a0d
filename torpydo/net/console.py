"""What the older call sets of a node and of a pool share: the log on a terminal, and what counts as this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from torpydo.directory import is_loopback

__all__ = ["ConsoleObserver", "is_loopback_host"]


def is_loopback_host(host: str) -> bool:
    """Whether *host* is a loopback address or ``localhost``; nothing is resolved."""
    try:
        return is_loopback(ip_address(host).packed)
    except ValueError:
        return host == "localhost"


@implementer(ILogObserver)
class ConsoleObserver:
    """Writes what torpydo logs, one line an event, while it listens.

    :param who: named at the start of each line
    """

    def __init__(self, who: str, out: TextIO) -> None:
        self._who = who
        self._out = out
        self._listens = False

    def listen(self, flag: bool) -> None:
        """Write what comes from now on, or no more of it."""
        if flag and not self._listens:
            globalLogPublisher.addObserver(self)
        elif self._listens and not flag:
            globalLogPublisher.removeObserver(self)
        self._listens = flag

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("torpydo."):
            print(f"[torpydo {self._who}] {formatEvent(event)}", file=self._out)
