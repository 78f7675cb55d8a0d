"""A file of a client's or an application's state that can be made anew, at a price: a torn one is set aside, a full
disk costs one line.

Called by keeping, paths and vanguards, and by applications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.logger import Logger

from torpydo.errors import StateError
from torpydo.net import StateDirectory

T = TypeVar("T")


class KeptFile:
    """One file.

    :param state: where it is; ``None`` keeps nothing
    :param what: what is in it, for the log
    :param anew: what happens without it, for the log
    """

    log = Logger()

    def __init__(self, state: StateDirectory | None, name: str, what: str, anew: str) -> None:
        self._state = state
        self._name = name
        self._what = what
        self._anew = anew
        self._failing = False

    @property
    def is_kept(self) -> bool:
        """Whether there is a directory at all: without one nothing need be encoded."""
        return self._state is not None

    def read(self) -> bytes | None:
        """What is in it, ``None`` if there is none.

        :raises StateError: if it cannot be trusted
        """
        return None if self._state is None else self._state.read(self._name)

    def load(self, decode: Callable[[bytes], T]) -> T | None:
        """What *decode* makes of it; ``None`` if there is none, or there was one of no use, which is set aside.

        :param decode: raises :class:`StateError` for what it cannot read
        :raises StateError: if it cannot be trusted, or set aside: it is not written over then
        """
        blob = self.read()
        if blob is None:
            return None
        try:
            return decode(blob)
        except StateError as error:
            self.set_aside(error)
        return None

    def set_aside(self, error: StateError) -> None:
        """Rename it for whoever wants to look at it: *error* says why it is of no use.

        :raises StateError: if that is impossible
        """
        if self._state is None:
            return
        path = self._state.set_aside(self._name)
        self.log.warn(
            "{anew}; what was read is set aside as {path}: {error}", anew=self._anew, path=path, error=str(error)
        )

    def write(self, blob: bytes) -> bool:
        """Replace it; failures that follow each other are told once. False if it is not kept now but should be."""
        if self._state is None:
            return True
        try:
            self._state.write(self._name, blob)
        except StateError as error:
            if not self._failing:
                self.log.warn("{what} are not kept on disk: {error}", what=self._what, error=str(error))
            self._failing = True
        else:
            self._failing = False
        return not self._failing
