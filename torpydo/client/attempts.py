"""The tries of one stream: on one circuit after another, until it is open or there is a reason why it cannot be.

A try that ends before CONNECTED has told the application nothing, so the next may go another way. What the
destination itself answers (refused, no such name) is the answer. Bytes that went with the question are sent again only
if the exit has said that it did not connect, or if none of them had left; a doubt is an error. Called by routing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from torpydo.client.builds import UsableCircuit
from torpydo.client.circuitpool import CircuitPool
from torpydo.client.firstdata import FirstData
from torpydo.client.paths import Want
from torpydo.errors import CircuitLost, ConnectTimeout, ExitPolicyRefused, NodeOverloaded, PathError, TorpydoError

RETRY_PAUSE: Final = 0.05
"""Seconds after the loss of a circuit: those that went the same way are lost with it, one after another."""

T = TypeVar("T")


async def attempt(
    pool: CircuitPool,
    clock: IReactorTime,
    want: Want,
    open_on: Callable[[UsableCircuit], Deferred[T]],
    first: FirstData | None = None,
    *,
    tries: Sequence[float],
) -> T:
    """Open something on a circuit of *pool*, on another one if the first is of no use.

    :param open_on: what is to be opened; cancellable; fails with :class:`CircuitLost` only if nothing of *first* went
    :param first: the bytes that go with the question
    :param tries: seconds for CONNECTED, one try each (SECURITY, table T); one that cannot be repeated, because bytes
        have gone with it, has all of them
    :raises TorpydoError: the reason of the last try
    """
    last: TorpydoError | None = None
    for seconds in tries:
        if isinstance(last, CircuitLost) and not pool.is_closed:
            await deferLater(clock, RETRY_PAUSE, lambda: None)
        try:
            circuit = await pool.use(want)
        except PathError:
            if last is None:
                raise
            break
        try:
            return await _in_time(open_on(circuit), seconds, sum(tries), clock, first)
        except CircuitLost as error:
            pool.lost(circuit)
            last = error
        except WaitTimeout:
            pool.avoid(circuit)
            if first is not None and first.size:
                # The exit may have connected and delivered them, and only its answer may be missing.
                raise ConnectTimeout(
                    "the destination did not answer in time; the first bytes may have arrived, so ask for it again"
                ) from None
            last = ConnectTimeout(f"the destination did not answer within {seconds:.0f} s")
        except (ExitPolicyRefused, NodeOverloaded) as error:
            if isinstance(error, ExitPolicyRefused):
                pool.refused(circuit, want.port)
            want = attrs.evolve(want, refused=want.refused | {circuit.path[-1].node_id})
            last = error
    assert last is not None
    raise last


def _in_time(
    opening: Deferred[T], seconds: float, only: float, clock: IReactorTime, first: FirstData | None
) -> Deferred[T]:
    """Cancel *opening* after *seconds*, or after *only* if bytes have gone with it by then."""
    over = False
    until = clock.seconds() + only

    def give_up() -> None:
        nonlocal over
        over = True
        opening.cancel()

    timer = clock.callLater(seconds, lambda: first_time_over())

    def first_time_over() -> None:
        nonlocal timer
        if first is not None and first.size:
            timer = clock.callLater(max(0.0, until - clock.seconds()), give_up)
        else:
            give_up()

    def ended(result: T | Failure) -> T | Failure:
        if timer.active():
            timer.cancel()
        return Failure(WaitTimeout()) if over and isinstance(result, Failure) else result

    return opening.addBoth(ended)
