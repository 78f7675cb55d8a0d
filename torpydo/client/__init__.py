"""The client: the public API that applications use. Only what is named here is used from outside this room."""

from torpydo.client.circuits import Circuit
from torpydo.client.client import Client
from torpydo.client.congestion import share_of
from torpydo.client.conversations import Conversation
from torpydo.client.directcircuits import DirectCircuits
from torpydo.client.firstdata import FirstData
from torpydo.client.keptfile import KeptFile
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.parser import SharedClients, TorpydoServiceStringParser, TorpydoStringParser
from torpydo.client.questions import Questions
from torpydo.client.servedstreams import IncomingStream
from torpydo.client.status import CircuitStatus, ClientStatus, PoolStatus
from torpydo.client.world import World
from torpydo.net import Participants, StateDirectory, was_reset, write_now
from torpydo.tpdp import ORIGIN_READ

__all__ = [
    "DEFAULT_LIMITS",
    "ORIGIN_READ",
    "Circuit",
    "CircuitStatus",
    "Client",
    "ClientLimits",
    "ClientStatus",
    "Conversation",
    "DirectCircuits",
    "FirstData",
    "IncomingStream",
    "KeptFile",
    "Participants",
    "PoolStatus",
    "Questions",
    "SharedClients",
    "StateDirectory",
    "TorpydoServiceStringParser",
    "TorpydoStringParser",
    "World",
    "share_of",
    "was_reset",
    "write_now",
]
