"""Standard output that somebody looks at."""

from __future__ import annotations

import io

__all__ = ["Terminal"]


class Terminal(io.TextIOWrapper):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        return True
