"""The onion keys of a node: the current one, and for a day more the one before it (DESIGN 4.1).

Both are one file, so that a crash leaves a pair that belongs together. Called by service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE, DHSecretKey, Secret, document_hash, same
from torpydo.errors import StateError
from torpydo.net import StateDirectory
from torpydo.wire import NeedMore, Reader, Writer

__all__ = ["FILE", "ROTATE_AFTER", "OnionKeys"]

FILE: Final = "onion.keys"
ROTATE_AFTER: Final = 7 * 24 * 3600
"""Seconds for which a key is the current one."""
GRACE: Final = 24 * 3600
"""Seconds for which the one before is still accepted: clients may use a descriptor that is so old."""
_MAGIC: Final = b"torpydo onion keys 1\n"
_NONE: Final = bytes(KEY_SIZE)


@attrs.define(eq=False)
class OnionKeys:
    """The pair.

    :ivar made_at: when the current key was made, seconds since 1970
    """

    _state: StateDirectory | None
    _rng: Callable[[int], bytes]
    _current: DHSecretKey
    made_at: int
    _previous: DHSecretKey | None = None

    @classmethod
    def open(cls, state: StateDirectory | None, rng: Callable[[int], bytes], now: float) -> Self:
        """Read the keys, or make the first.

        :param state: where they survive; ``None`` keeps them in memory only
        :raises StateError: if the file is torn, or is something else: it is never replaced
        """
        data = None if state is None else state.read(FILE)
        if state is None or data is None:
            keys = cls(state, rng, DHSecretKey(Secret(rng(KEY_SIZE))), int(now))
            keys._write()
        else:
            keys = cls._decode(data, state, rng)
        keys.rotate(now)
        return keys

    def accepted(self, now: float) -> tuple[DHSecretKey, ...]:
        """The keys that a CREATE may be made for, the current one first."""
        if self._previous is None or now - self.made_at > GRACE:
            return (self._current,)
        return self._current, self._previous

    def rotate(self, now: float) -> bool:
        """Make a new current key if it is time to; tell whether it was.

        :raises StateError: if it cannot be kept; the old one stays then
        """
        age = now - self.made_at
        # A clock that was a year ahead when the key was made would otherwise keep it for a year.
        if -ROTATE_AFTER < age < ROTATE_AFTER:
            return False
        old = self._current, self.made_at, self._previous
        self._current, self.made_at, self._previous = DHSecretKey(Secret(self._rng(KEY_SIZE))), int(now), self._current
        try:
            self._write()
        except StateError:
            self._current, self.made_at, self._previous = old
            raise
        return True

    def _write(self) -> None:
        if self._state is not None:
            previous = _NONE if self._previous is None else bytes(self._previous.raw)
            body = Writer().put(_MAGIC).u64(self.made_at).put(bytes(self._current.raw)).put(previous).getvalue()
            self._state.write(FILE, body + document_hash(body))

    @classmethod
    def _decode(cls, data: bytes, state: StateDirectory, rng: Callable[[int], bytes]) -> Self:
        reader = Reader(data)
        try:
            magic, made_at, current, previous = reader.take(len(_MAGIC)), reader.u64(), reader.take(32), reader.take(32)
            body = data[: reader.position]
            whole = magic == _MAGIC and same(reader.rest(), document_hash(body))
        except NeedMore:
            whole = False
        if not whole:
            raise StateError(
                f"{state.path(FILE)}: the file is torn or is not torpydo's; put a backup in its place, or move it away"
                " to start with a new onion key"
            )
        before = None if previous == _NONE else DHSecretKey(Secret(previous))
        return cls(state, rng, DHSecretKey(Secret(current)), made_at, before)
