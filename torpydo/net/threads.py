"""Work that would keep the reactor busy for too long, given to its threads. For nodes and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

__all__ = ["in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(reactor: Any, function: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """*function*, run in a thread of *reactor*. The end of the program waits for it: it should be over soon."""

    def begin(*arguments: P.args, **options: P.kwargs) -> Deferred[T]:
        result: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments, **options)
        return result

    return begin
