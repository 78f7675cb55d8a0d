"""Why a client gives something up by itself: what an operator's counters and log lines call it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

__all__ = ["ClientRefusal", "RefusedFunction", "uncounted"]


class ClientRefusal(Enum):
    """A cause; the value is the words for it."""

    MEMORY = "circuits, because too much waits in the client (--limit=memory=...); those with the oldest bytes first"
    STREAM_WAIT = "streams that got no circuit in time (--limit=stream-wait=...)"


RefusedFunction = Callable[[ClientRefusal, int], object]
"""Told of a cause, and of how many were refused because of it."""


def uncounted(cause: ClientRefusal, count: int) -> None:
    """Nobody counts."""
