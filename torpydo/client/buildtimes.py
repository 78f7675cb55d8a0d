"""How long circuits take to be built, and when one has taken too long to be worth using (SECURITY H9).

Until a hundred circuits of the same length were seen, a build has a minute. Then it has as long as the fastest four
fifths of them took. Circuits of different lengths are learned apart. Keeps no time and no file; called by builds.

Slow circuits must be told of as well as fast ones: if only those counted that came in time, each time-out would be
shorter than the one before.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Annotated, Final, Self

import attrs
import msgspec

from torpydo.crypto import with_hash, without_hash
from torpydo.errors import StateError

__all__ = ["BuildTimes"]

LONGEST: Final = 60.0
"""Seconds that a build has before anything was learned, and never more."""
SHORTEST: Final = 1.5
"""Seconds that a build has at the least: one busy moment of a node is no reason to give a circuit up."""
ENOUGH: Final = 100
"""Builds after which the time-out is learned."""
KEPT: Final = 1000
"""Builds that are remembered, the last ones (tor keeps as many)."""
QUANTILE: Final = 0.8
RECENT: Final = 20
"""Builds that are looked at to see whether the network has changed ..."""
RECENT_SLOW: Final = 18
"""... which it has if so many of them came too late (tor's cbtmaxtimeouts)."""
MAX_HOPS: Final = 8

_FORMAT: Final = 1
_LIMIT_MS: Final = int(LONGEST * 1000)
_LEAST_MS: Final = int(SHORTEST * 1000)
_Start = Annotated[int, msgspec.Meta(ge=_LEAST_MS, le=_LIMIT_MS)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=_LIMIT_MS)]
_Hops = Annotated[int, msgspec.Meta(ge=1, le=MAX_HOPS)]


class _StoredLength(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    hops: _Hops
    start: _Start
    times: Annotated[list[_Milliseconds], msgspec.Meta(max_length=KEPT)]


class _Stored(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    lengths: Annotated[list[_StoredLength], msgspec.Meta(max_length=MAX_HOPS)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Stored)


@attrs.define(eq=False)
class _Length:
    """The builds of one number of hops, in whole milliseconds."""

    start: int = _LIMIT_MS
    """The time-out until enough was seen."""
    times: deque[int] = attrs.field(factory=deque)
    """In the order in which they came ..."""
    ordered: list[int] = attrs.field(factory=list)
    """... and in that of their length."""
    recent: deque[bool] = attrs.field(factory=lambda: deque(maxlen=RECENT))
    """Whether the last builds came too late."""

    def timeout(self) -> int:
        """How long a build has."""
        if len(self.ordered) < ENOUGH:
            return self.start
        return max(self.ordered[int(len(self.ordered) * QUANTILE)], _LEAST_MS)

    def add(self, time: int) -> None:
        """One more was built."""
        if len(self.times) >= KEPT:
            oldest = self.times.popleft()
            del self.ordered[bisect_left(self.ordered, oldest)]
        self.times.append(time)
        insort(self.ordered, time)

    def note(self, late: bool) -> None:
        """One more came in time, or too late; when nearly all are, what was learned is about another network."""
        self.recent.append(late)
        if sum(self.recent) >= RECENT_SLOW:
            self.start = min(2 * self.timeout(), _LIMIT_MS)
            self.times.clear()
            self.ordered.clear()
            self.recent.clear()


class BuildTimes:
    """What one client has seen. A new one has seen nothing.

    :ivar changed: set by everything that should be written to disk; whoever writes clears it
    """

    def __init__(self) -> None:
        self._lengths: dict[int, _Length] = {}
        self.changed = False

    # -- Storage

    def encode(self) -> bytes:
        """The bytes for the state directory, with a hash so that a torn file is known as one."""
        lengths = [
            _StoredLength(hops, length.start, list(length.times)) for hops, length in sorted(self._lengths.items())
        ]
        return with_hash(_encoder.encode(_Stored(_FORMAT, lengths)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` gave.

        :raises StateError: if the bytes are torn or are not build times
        """
        try:
            stored = _decoder.decode(without_hash(data))
        except (ValueError, RecursionError):
            raise StateError("the build times are torn or foreign") from None
        known = cls()
        for one in stored.lengths:
            known._lengths[one.hops] = _Length(one.start, deque(one.times), sorted(one.times))
        return known

    # -- What a client asks and tells

    def timeout(self, hops: int) -> float:
        """Seconds after which a circuit of *hops* hops is given up for use, counted from the moment of its CREATE."""
        length = self._lengths.get(hops)
        return LONGEST if length is None else length.timeout() / 1000

    def built(self, hops: int, seconds: float, *, late: bool) -> None:
        """A circuit was built.

        :param late: whether it had been given up before
        """
        length = self._lengths.setdefault(hops, _Length())
        length.add(max(0, min(int(seconds * 1000), _LIMIT_MS)))
        length.note(late)
        self.changed = True

    def failed(self, hops: int) -> None:
        """A circuit whose first hop had answered was given up, and never was built."""
        length = self._lengths.get(hops)
        if length is not None:
            length.note(True)
            self.changed = True
