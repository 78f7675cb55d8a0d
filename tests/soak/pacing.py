"""How much all transfers together carry: the network is to be used for hours, not to be filled."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Pacer"]


class Pacer:
    """A bucket of bytes.

    :param rate: bytes a second
    :param now: the time
    """

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._burst = rate / 4
        self._left = self._burst
        self._at = now()

    def take(self, size: int) -> float:
        """Note that *size* bytes went through.

        :returns: seconds to wait before the next
        """
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - size
        self._at = now
        return max(0.0, -self._left / self._rate)
