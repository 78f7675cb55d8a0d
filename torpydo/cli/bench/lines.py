"""What a line of the table and a goal are; the lines themselves are in ``goals`` and ``scalelines``."""

from __future__ import annotations

from enum import Enum

import attrs

__all__ = ["Better", "Goal", "Line"]


class Better(Enum):
    """Which way a figure improves."""

    MORE = ">="
    LESS = "<="


@attrs.frozen
class Line:
    """What is measured under one key."""

    key: str
    what: str
    unit: str
    better: Better


@attrs.frozen
class Goal:
    """What torpydo must reach on one line under one set of conditions."""

    key: str
    conditions: str
    value: float
