"""The file of a table: read at the start, written now and then if something in it is new, and at the end.

Without it an application that is started again knows nobody but those it was given to begin with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torpydo.apps.peers.timers import Timers
from torpydo.client import KeptFile, StateDirectory
from torpydo.errors import StateError
from torpydo.peers import Kept

__all__ = ["Keeping"]

FILE: Final = "peers"
FIRST_SAVE: Final = 60.0
LAST_SAVE: Final = 900.0
"""Seconds between two writes: doubled each time, for those of the first minute are the ones that must not be lost."""


class Keeping:
    """Keeps what a table knows.

    :param path: a private directory that nobody else uses; ``None`` keeps nothing
    :param content: gives what is to be kept
    """

    def __init__(self, path: str | None, timers: Timers, content: Callable[[], Kept]) -> None:
        self._path = path
        self._timers = timers
        self._content = content
        self._state: StateDirectory | None = None
        self._file = KeptFile(None, FILE, "", "")
        self._written = b""

    def open(self) -> Kept:
        """What was kept; from now on the directory is this table's.

        :raises StateError: if the directory or the file cannot be trusted, or is in use. What is torn is put aside
        """
        if self._path is None:
            return Kept()
        state = StateDirectory.open(self._path)
        self._file = KeptFile(state, FILE, "the peers", "peers are found anew")
        try:
            found = self._file.load(Kept.decode)
        except StateError:
            state.close()
            raise
        self._state = state
        return found or Kept()

    def begin(self, pause: float = FIRST_SAVE) -> None:
        """Save from now on, after *pause* seconds for the first time."""
        if self._state is not None:
            self._timers.later("save", pause, lambda: self._save_again(min(2 * pause, LAST_SAVE)))

    def _save_again(self, pause: float) -> None:
        self._save()
        self.begin(pause)

    def _save(self) -> None:
        content = self._content().encode()
        if content != self._written and self._file.write(content):
            self._written = content

    def close(self) -> None:
        """Save, and let others have the directory. Twice does no harm."""
        if self._state is not None:
            self._save()
            self._state.close()
            self._state = None
