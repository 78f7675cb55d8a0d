"""System events of a simulated reactor: startup and shutdown, each in three phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList

from torpydo.testing.clock import run_guarded

PHASES = ("before", "during", "after")


@attrs.frozen(eq=False)
class Trigger:
    """What :meth:`SystemEvents.add` returns, to be removed again."""

    phase: str
    event: str
    action: Callable[[], object]


@attrs.define(eq=False)
class SystemEvents:
    """The triggers that wait for an event."""

    _triggers: list[Trigger] = attrs.Factory(list)

    def add(self, phase: str, event: str, action: Callable[[], Any]) -> Trigger:
        """Run *action* when *event* happens."""
        if phase not in PHASES:
            raise KeyError(f"{phase!r} is not one of {PHASES}")
        trigger = Trigger(phase, event, action)
        self._triggers.append(trigger)
        return trigger

    def remove(self, trigger: Trigger) -> None:
        """Do not run it after all.

        :raises ValueError: if it was run or removed already
        """
        self._triggers.remove(trigger)

    def fire(self, event: str) -> Deferred[None]:
        """Run all triggers of *event*; the later phases wait for what the first one returns."""
        waiting = [result for result in self._run("before", event) if isinstance(result, Deferred)]
        done: Deferred[None] = DeferredList(waiting, consumeErrors=False).addCallback(lambda _: None)

        def rest(_: None) -> None:
            self._run("during", event)
            self._run("after", event)

        return done.addCallback(rest)

    def _run(self, phase: str, event: str) -> list[object]:
        results = []
        for trigger in [each for each in self._triggers if (each.phase, each.event) == (phase, event)]:
            self._triggers.remove(trigger)
            results.append(run_guarded(trigger.action))
        return results
