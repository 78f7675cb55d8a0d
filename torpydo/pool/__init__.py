"""The pool index: takes heartbeats, checks that nodes are where they say, and signs the listing.

:class:`PoolService` is what the tap runs; :class:`PoolIndex` has the older calls.
"""

from torpydo.pool.index import PoolIndex
from torpydo.pool.probes import Probe
from torpydo.pool.service import PoolConfig, PoolService

__all__ = ["PoolConfig", "PoolIndex", "PoolService", "Probe"]
