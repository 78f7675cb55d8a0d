"""Sequences of descriptors: they rise with time, and do not tell it (docs/protocol-onion, Sequences).

Whoever keeps a descriptor sees its sequence. Were that the time, it would show how far the service's clock is off, and
all services and clients of one machine have that in common. So it is the place of the moment on a scale that is
stretched and squeezed at random: the moments of a period are halved again and again, and at each step the numbers are
divided between the halves by a share that only the owner of the key can compute. A service that is started again comes
to the same scale without a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torpydo.crypto import BlindedKey, Person

__all__ = ["MOST_SEQUENCE", "draw_sequence", "next_sequence"]

_BITS: Final = 27
"""Halvings. That many milliseconds are a day and thirteen hours; a descriptor's key is used for twenty-eight."""
MOST_SEQUENCE: Final = 1 << 62
"""Where the scale ends. An item's sequence may be twice that: there is always room to go on."""
_SHARE: Final = 8
"""Bytes of a share."""
_STEP: Final = 4
"""Bytes of a random step."""


def draw_sequence(key: BlindedKey, seconds: float, rng: Callable[[int], bytes]) -> int:
    """A sequence for a moment: higher than every one that was drawn for an earlier millisecond, and random within that.

    :param key: what the descriptor is signed with
    :param seconds: since descriptors may be signed with it
    """
    moment = min(max(int(seconds * 1000), 0), (1 << _BITS) - 1)
    low, width = 0, MOST_SEQUENCE
    for level in range(_BITS - 1, -1, -1):
        part = (1 << _BITS | moment) >> level + 1
        share = int.from_bytes(key.derive(part.to_bytes(4), Person.SEQUENCE, _SHARE))
        # A quarter at the least, or there would be no numbers left at the end.
        left = width // 4 + (width // 2 * share >> 8 * _SHARE)
        if moment >> level & 1:
            low, width = low + left, width - left
        else:
            width = left
    return low + (int.from_bytes(rng(_SHARE)) * width >> 8 * _SHARE)


def next_sequence(last: int, rng: Callable[[int], bytes]) -> int:
    """One after *last*, when what was drawn is not higher: a clock has gone back. It is a random one, for the next that
    comes to mind may have been used already by a service that was stopped, and none may be used for two descriptors.
    """
    return last + 1 + int.from_bytes(rng(_STEP))
