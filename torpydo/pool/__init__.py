"""The pool index: takes heartbeats, checks that nodes are where they say, and signs the listing.

:class:`PoolService` is what the tap runs; :class:`PoolIndex` has the older calls.
"""

from torpydo.pool.index import PoolIndex
from torpydo.pool.limits import PoolLimits
from torpydo.pool.probes import Probe
from torpydo.pool.sequence import raise_sequence, saved_sequence
from torpydo.pool.service import PoolConfig, PoolService
from torpydo.pool.status import IndexReport, IndexStatus

__all__ = [
    "IndexReport",
    "IndexStatus",
    "PoolConfig",
    "PoolIndex",
    "PoolLimits",
    "PoolService",
    "Probe",
    "raise_sequence",
    "saved_sequence",
]
