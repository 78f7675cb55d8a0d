"""Coroutines that run at the same time: their results, or the error of the first that failed as it was raised.

And one that runs only as long as what it needs is there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults
from twisted.internet.task import LoopingCall

__all__ = ["some_at_a_time", "together", "watched"]

Result = TypeVar("Result")
# Seconds; often enough for whoever waits, and nothing beside what is measured meanwhile.
LOOK_AGAIN = 0.25


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run all of them; when one fails, the others are cancelled, and the error comes when all are over."""
    deferreds = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]
    try:
        found: list[Result] = await gatherResults(deferreds, consumeErrors=True)
    except FirstError as error:
        for deferred in deferreds:
            deferred.cancel()
        # They end what they started, in a directory that is soon removed.
        await DeferredList(deferreds)
        error.subFailure.raiseException()
    return found


async def some_at_a_time(most: int, do: Callable[[int], Coroutine[Any, Any, None]], count: int) -> None:
    """Await ``do(0)`` to ``do(count - 1)``, at most *most* of them at one time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await do(number)

    await together(some() for _ in range(min(most, count)))


async def watched(reactor: Any, coroutine: Coroutine[Any, Any, Result], check: Callable[[], None]) -> Result:
    """Await *coroutine*, which is cancelled when *check* raises.

    :param check: called again and again; raises when going on has become pointless
    :raises TorpydoError: what *check* raised, also when the coroutine had failed of the same cause before
    """
    running = Deferred.fromCoroutine(coroutine)
    looking = LoopingCall(check)
    looking.clock = reactor
    looking.start(LOOK_AGAIN).addErrback(lambda _: running.cancel())
    try:
        return await running
    except Exception:
        # Whatever it was, the cause is better. To be cancelled has many names: a connection's is not Deferred's.
        check()
        raise
    finally:
        if looking.running:
            looking.stop()
