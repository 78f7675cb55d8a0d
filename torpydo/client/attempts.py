"""The tries of one stream: on one circuit after another, until it is open or there is a reason why it cannot be.

A try that ends before CONNECTED has told the application nothing, so the next may go another way. What the
destination itself answers (refused, no such name) is the answer. Called by routing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitTimeout
from twisted.internet.interfaces import IReactorTime

from torpydo.client.builds import UsableCircuit
from torpydo.client.circuitpool import CircuitPool
from torpydo.client.paths import Want
from torpydo.errors import CircuitLost, ConnectTimeout, ExitPolicyRefused, NodeOverloaded, PathError, TorpydoError

TRIES = (10.0, 10.0, 15.0)
"""Seconds for CONNECTED, one try each (SECURITY, table T)."""

T = TypeVar("T")


async def attempt(
    pool: CircuitPool, clock: IReactorTime, want: Want, open_on: Callable[[UsableCircuit], Deferred[T]]
) -> T:
    """Open something on a circuit of *pool*, on another one if the first is of no use.

    :param open_on: what is to be opened; cancellable
    :raises TorpydoError: the reason of the last try
    """
    last: TorpydoError | None = None
    for seconds in TRIES:
        try:
            circuit = await pool.use(want)
        except PathError:
            if last is None:
                raise
            break
        try:
            return await open_on(circuit).addTimeout(seconds, clock)
        except CircuitLost as error:
            pool.lost(circuit)
            last = error
        except WaitTimeout:
            pool.avoid(circuit)
            last = ConnectTimeout(f"the destination did not answer within {seconds:.0f} s")
        except (ExitPolicyRefused, NodeOverloaded) as error:
            if isinstance(error, ExitPolicyRefused):
                pool.refused(circuit, want.port)
            want = attrs.evolve(want, refused=want.refused | {circuit.path[-1].node_id})
            last = error
    assert last is not None
    raise last
