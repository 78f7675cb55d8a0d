"""Doubles for tests, for torpydo's own and for those of applications: a whole network in one process, in memory, on a
virtual clock. Everything is deterministic. Nothing in torpydo but its tests imports this room.
"""

from torpydo.testing.clock import SimulationError
from torpydo.testing.memory import SimulatedReactor
from torpydo.testing.names import NameTable
from torpydo.testing.network import LocalNetwork
from torpydo.testing.splits import byte_by_byte, random_split, split_after
from torpydo.testing.ways import Conditions

__all__ = [
    "Conditions",
    "LocalNetwork",
    "NameTable",
    "SimulatedReactor",
    "SimulationError",
    "byte_by_byte",
    "random_split",
    "split_after",
]
