"""Coroutines that run at the same time: their results, or the error of the first that failed as it was raised."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

__all__ = ["some_at_a_time", "together"]

Result = TypeVar("Result")


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run all of them; when one fails, the others are cancelled."""
    deferreds = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]
    try:
        found: list[Result] = await gatherResults(deferreds, consumeErrors=True)
    except FirstError as error:
        for deferred in deferreds:
            deferred.cancel()
        error.subFailure.raiseException()
    return found


async def some_at_a_time(most: int, do: Callable[[int], Coroutine[Any, Any, None]], count: int) -> None:
    """Await ``do(0)`` to ``do(count - 1)``, at most *most* of them at one time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await do(number)

    await together(some() for _ in range(min(most, count)))
