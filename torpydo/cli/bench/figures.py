"""One measured line: what, of which system, under which conditions, and every sample. No judgement (``goals``)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from statistics import median
from typing import Any

import attrs

from torpydo.errors import ConfigurationError

__all__ = ["Figure", "figures_from_json", "figures_to_json"]


def _samples(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@attrs.frozen
class Figure:
    """The samples of one quantity; at least one."""

    key: str
    """The line, as ``goals`` names it."""
    system: str
    """``torpydo``, ``tor``, ``tor tuned``, ``pipeline`` or ``direct``."""
    conditions: str
    """``loopback``, ``25 ms``, ``25 ms, 100 Mbit/s``."""
    unit: str
    samples: tuple[float, ...] = attrs.field(converter=_samples, validator=attrs.validators.min_len(1))
    """In the order in which they were taken."""

    @property
    def minimum(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The middle sample."""
        return float(median(self.samples))

    @property
    def maximum(self) -> float:
        """The largest sample."""
        return max(self.samples)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; the three figures of the table stand beside the samples they come from."""
        return {
            "key": self.key,
            "system": self.system,
            "conditions": self.conditions,
            "unit": self.unit,
            "samples": list(self.samples),
            "minimum": self.minimum,
            "median": self.median,
            "maximum": self.maximum,
        }

    @classmethod
    def from_json(cls, value: Any) -> Figure:
        """What :meth:`to_json` gave.

        :raises ConfigurationError: for anything else
        """
        try:
            key, system, conditions, unit, samples = [value[field.name] for field in attrs.fields(cls)]
            if not all(isinstance(text, str) for text in (key, system, conditions, unit)) or isinstance(samples, str):
                raise TypeError
            return cls(key, system, conditions, unit, samples)
        except (TypeError, KeyError, ValueError):
            raise ConfigurationError(
                f"this is not a figure of 'torpydo bench --json': {json.dumps(value, default=str)[:200]}"
            ) from None


def figures_to_json(figures: Iterable[Figure], facts: dict[str, Any]) -> str:
    """A JSON document.

    :param facts: about the run: the machine, the versions, the time
    """
    return json.dumps({"facts": facts, "figures": [figure.to_json() for figure in figures]}, indent=1) + "\n"


def figures_from_json(text: str) -> tuple[dict[str, Any], list[Figure]]:
    """The facts and the figures of a document of :func:`figures_to_json`.

    :raises ConfigurationError: for any other text
    """
    try:
        document = json.loads(text)
        return dict(document["facts"]), [Figure.from_json(value) for value in document["figures"]]
    except (ValueError, TypeError, KeyError):
        raise ConfigurationError("this is not the JSON of 'torpydo bench --json'; measure again") from None
