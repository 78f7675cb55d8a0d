"""The core: the TorPyDo Protocol 1 without Twisted, clock or randomness of its own.

Only what is named here is used from outside this room.
"""

from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import EndReason, ExtendStatus

__all__ = ["Address", "EndReason", "ExtendStatus"]
