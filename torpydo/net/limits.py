"""Limits that an operator may change: each a number with a name, a unit, a default and a reason.

A room writes its limits down as a frozen class of :func:`limit` fields; ``--limit=NAME=VALUE`` changes one of them.
For node, pool and client. Knows no limit itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

import attrs

from torpydo.errors import ConfigurationError

__all__ = ["Limit", "Limits", "limit"]

_VALUE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMG]?)", re.ASCII | re.IGNORECASE)
_FACTORS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST: Final = 10**15
"""Values below it are written in the way that they are read."""


@attrs.frozen
class Limit:
    """What there is to know of one limit.

    :ivar name: as in ``--limit=NAME=VALUE``
    :ivar unit: ``bytes``, ``seconds``, ``links``, ``circuits a second`` ...
    :ivar why: one line for people, with its source
    :ivar lifted: whether a test network is without it: all of its nodes and clients share one address
    """

    name: str
    default: float
    unit: str
    why: str
    lifted: bool


def limit(default: float, unit: str, why: str, *, least: float = 1, lifted: bool = False) -> Any:
    """A field of a class of limits.

    :param default: its type, ``int`` or ``float``, is that of all its values
    :param least: the smallest value that can be given
    :param lifted: whether a test network is without it
    """
    return attrs.field(
        default=default, kw_only=True, metadata={"unit": unit, "why": why, "least": least, "lifted": lifted}
    )


@attrs.frozen
class Limits:
    """The base of all classes of limits."""

    @classmethod
    def known(cls) -> Iterator[Limit]:
        """Every limit, in the order in which they are written down."""
        for field in attrs.fields(cls):
            meta = field.metadata
            name = field.name.replace("_", "-")
            yield Limit(name, field.default, meta["unit"], meta["why"], meta["lifted"])

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Read words like ``links-per-host=200`` or ``memory=64M``; what is not named keeps its default.

        :raises ConfigurationError: if there is no such limit, or the value cannot be used
        """
        fields = {field.name.replace("_", "-"): field for field in attrs.fields(cls)}
        chosen: dict[str, float] = {}
        for word in words:
            name, equals, text = word.partition("=")
            field = fields.get(name)
            if not equals or field is None:
                raise ConfigurationError(f"--limit={word}: give NAME=VALUE; the names are {', '.join(fields)}")
            chosen[field.name] = _number(word, text, field)
        return cls(**chosen)

    def in_test_network(self) -> Self:
        """The same without those that make no sense where everybody has one address, unless they were chosen."""
        chosen = attrs.asdict(self)
        liftable = [field for field in attrs.fields(type(self)) if field.metadata["lifted"]]
        lifted = [field.name for field in liftable if chosen[field.name] == field.default]
        return attrs.evolve(self, **dict.fromkeys(lifted, math.inf))

    def words(self) -> tuple[str, ...]:
        """What :meth:`parse` makes the same of: the limits that are not the default."""
        values = attrs.asdict(self)
        return tuple(f"{one.name}={values[one.name.replace('-', '_')]}" for one in self.known()
                     if values[one.name.replace("-", "_")] != one.default)  # fmt: skip


def _number(word: str, text: str, field: attrs.Attribute[Any]) -> float:
    match = _VALUE.fullmatch(text)
    whole = isinstance(field.default, int)
    if match is None or whole and "." in match[1]:
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"--limit={word}: the value is {kind} of {field.metadata['unit']}, such as "
                                 f"{field.default}; K, M and G stand for 1024 and its powers")  # fmt: skip
    value = (int(match[1]) if whole else float(match[1])) * _FACTORS[match[2].upper()]
    if value < field.metadata["least"]:
        raise ConfigurationError(f"--limit={word}: at least {field.metadata['least']} {field.metadata['unit']}")
    if value >= _MOST:
        raise ConfigurationError(f"--limit={word}: that is more than any computer has")
    return value
