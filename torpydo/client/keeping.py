"""The file of the build times: read at the start, written now and then, and set aside if it is torn.

Nothing depends on it: without it the times are learned anew. Called by builds, made by routing.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torpydo.client.buildtimes import BuildTimes
from torpydo.client.keptfile import KeptFile
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
        self._file = KeptFile(state, TIMES_FILE, "the build times", "the times are learned anew")
        self._clock = clock
        self._saved_at = clock.seconds()
        self.known = self._load()

    def _load(self) -> BuildTimes:
        blob = self._file.read()
        if blob is None:
            return BuildTimes()
        try:
            return BuildTimes.decode(blob)
        except StateError as error:
            torn = error
        try:
            self._file.set_aside(torn)
        except StateError as error:
            self.log.warn("it could not be set aside, and will be written over: {error}", error=str(error))
        return BuildTimes()

    def save_sometimes(self) -> None:
        """Write what is new, unless that was done a moment ago."""
        if self._clock.seconds() - self._saved_at >= SAVE_PAUSE:
            self.save()

    def save(self) -> None:
        """Write what is new."""
        if not self._file.is_kept or not self.known.changed:
            return
        self.known.changed = False
        self._saved_at = self._clock.seconds()
        self._file.write(self.known.encode())
