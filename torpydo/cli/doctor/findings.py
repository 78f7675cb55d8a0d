"""What the doctor has found: one finding for each thing it looked at. Knows nothing of what that is.

A problem has a cause, what helps, and the exit status that it leads to; a warning has the first two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import Final

import attrs

__all__ = ["NETWORK", "STATE", "Finding", "Findings", "Verdict"]

NETWORK: Final = 3
"""Exit status if something is wrong with the network."""
STATE: Final = 4
"""Exit status if something is wrong with the state directory (SECURITY Z3)."""


class Verdict(Enum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class Finding:
    """One thing.

    :ivar subject: what was looked at, in a word or two
    :ivar what: what was seen
    :ivar cause: why, as far as that can be told from here
    :ivar remedy: what helps
    :ivar public: what a report for others says instead of *what*: nothing that names the guard (SECURITY I1)
    """

    verdict: Verdict
    subject: str
    what: str
    cause: str = ""
    remedy: str = ""
    public: str = ""


@attrs.define
class Findings:
    """All of them, in the order in which they came."""

    found: list[Finding] = attrs.field(factory=list)
    _statuses: set[int] = attrs.field(factory=set)

    def ok(self, subject: str, what: str) -> None:
        """Something is as it should be."""
        self.found.append(Finding(Verdict.OK, subject, what))

    def warn(self, subject: str, what: str, cause: str, remedy: str, *, public: str = "") -> None:
        """Something works and should be looked at."""
        self.found.append(Finding(Verdict.WARNING, subject, what, cause, remedy, public))

    def problem(
        self, subject: str, what: str, cause: str, remedy: str, *, status: int = NETWORK, public: str = ""
    ) -> None:
        """Something does not work."""
        self.found.append(Finding(Verdict.PROBLEM, subject, what, cause, remedy, public))
        self._statuses.add(status)

    @property
    def status(self) -> int:
        """The exit status: what is wrong here comes before what is wrong elsewhere."""
        return max(self._statuses, default=0)

    def lines(self) -> Iterator[str]:
        """For people."""
        for one in self.found:
            yield _printable(f"{one.verdict.value:8} {one.subject}: {one.what}")
            for title, text in (("cause", one.cause), ("what helps", one.remedy)):
                if text:
                    yield _printable(f"{'':9}{title}: {text}")
        counts = {verdict: sum(one.verdict is verdict for one in self.found) for verdict in Verdict}
        yield ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())

    def to_json(self) -> str:
        """For programs, and for people who help: without what is for the user's own eyes."""
        shown = [attrs.evolve(one, what=one.public or one.what) for one in self.found]
        left_out = attrs.filters.exclude(attrs.fields(Finding).public)
        rows = [attrs.asdict(one, filter=left_out, value_serializer=_plain) for one in shown]
        return json.dumps({"status": self.status, "findings": rows}, indent=2)


def _printable(line: str) -> str:
    """What strangers call their nodes is in it, too: no terminal obeys it."""
    return "".join(char if char.isprintable() else "?" for char in line)


def _plain(instance: object, field: object, value: object) -> object:
    return value.value if isinstance(value, Verdict) else value
