"""Doubles for tests, for torpydo's own and for those of applications: a whole network in one process, in memory, on a
virtual clock. Everything is deterministic. Nothing in torpydo but its tests imports this room.
"""

from torpydo.testing.clock import SimulationError
from torpydo.testing.faultproxy import FaultProxy
from torpydo.testing.faults import (
    BlackHole,
    Delay,
    Drop,
    DropRecord,
    Duplicate,
    FaultError,
    Flip,
    FlipInRecord,
    Freeze,
    HalfClose,
    Insert,
    Rate,
    RepeatRecord,
    Reset,
    Split,
    SwapRecords,
    Truncate,
)
from torpydo.testing.leakguard import Leak, LeakError, LeakGuard
from torpydo.testing.memory import SimulatedReactor
from torpydo.testing.names import NameTable
from torpydo.testing.network import LocalNetwork
from torpydo.testing.splits import byte_by_byte, random_split, split_after
from torpydo.testing.ways import Conditions

__all__ = [
    "BlackHole",
    "Conditions",
    "Delay",
    "Drop",
    "DropRecord",
    "Duplicate",
    "FaultError",
    "FaultProxy",
    "Flip",
    "FlipInRecord",
    "Freeze",
    "HalfClose",
    "Insert",
    "Leak",
    "LeakError",
    "LeakGuard",
    "LocalNetwork",
    "NameTable",
    "Rate",
    "RepeatRecord",
    "Reset",
    "SimulatedReactor",
    "SimulationError",
    "Split",
    "SwapRecords",
    "Truncate",
    "byte_by_byte",
    "random_split",
    "split_after",
]
