"""The file of the build times: read at the start, written now and then, and set aside if it is torn.

Nothing depends on it: without it the times are learned anew. Called by builds, made by routing.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torpydo.client.buildtimes import BuildTimes
from torpydo.errors import StateError
from torpydo.net import StateDirectory

TIMES_FILE = "build-times"
SAVE_PAUSE = 60.0
"""Seconds between two writes: they are not worth one for each circuit."""


class KeptTimes:
    """Build times with their file.

    :param state: where they survive a restart; ``None`` keeps nothing
    :ivar known: the times
    """

    log = Logger()

    def __init__(self, state: StateDirectory | None, clock: IReactorTime) -> None:
        self._state = state
        self._clock = clock
        self._saved_at = clock.seconds()
        self._failed = False
        self.known = self._load()

    def _load(self) -> BuildTimes:
        blob = None if self._state is None else self._state.read(TIMES_FILE)
        if self._state is None or blob is None:
            return BuildTimes()
        try:
            return BuildTimes.decode(blob)
        except StateError as error:
            self.log.warn(
                "{path} is set aside as .bad, the times are learned anew: {error}",
                path=self._state.path(TIMES_FILE),
                error=str(error),
            )
        try:
            self._state.write(f"{TIMES_FILE}.bad", blob)
        except StateError as error:
            self.log.warn("it could not be set aside, and will be written over: {error}", error=str(error))
        return BuildTimes()

    def save_sometimes(self) -> None:
        """Write what is new, unless that was done a moment ago."""
        if self._clock.seconds() - self._saved_at >= SAVE_PAUSE:
            self.save()

    def save(self) -> None:
        """Write what is new."""
        if self._state is None or not self.known.changed:
            return
        self.known.changed = False
        self._saved_at = self._clock.seconds()
        try:
            self._state.write(TIMES_FILE, self.known.encode())
        except StateError as error:
            if not self._failed:
                self.log.warn("the build times are not kept on disk: {error}", error=str(error))
            self._failed = True
        else:
            self._failed = False
