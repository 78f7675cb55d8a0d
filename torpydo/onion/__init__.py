"""What onion services are made of: names, descriptors, introductions, puzzles. No I/O, no clock, no randomness.

Source: docs/protocol-onion. Only what is named here is used from outside this room.
"""

from torpydo.onion.descriptor import IntroductionPoint, ServiceDescriptor, open_descriptor, seal_descriptor
from torpydo.onion.introduction import Introduced, Introduction, Meeting
from torpydo.onion.names import PERIOD, OnionName, is_onion, period_of
from torpydo.onion.puzzle import Puzzle, after, solve

__all__ = [
    "PERIOD",
    "Introduced",
    "Introduction",
    "IntroductionPoint",
    "Meeting",
    "OnionName",
    "Puzzle",
    "ServiceDescriptor",
    "after",
    "is_onion",
    "open_descriptor",
    "period_of",
    "seal_descriptor",
    "solve",
]
