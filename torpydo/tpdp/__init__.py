"""The core: the TorPyDo Protocol 1 without Twisted, clock or randomness of its own.

Only what is named here is used from outside this room.
"""

from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import BUFFER_HIGH, BUFFER_LOW, EXIT_READ, MAX_HOPS, WINDOW_MAX, EndReason, ExtendStatus
from torpydo.tpdp.ends import CircuitEnd
from torpydo.tpdp.events import (
    Cell,
    CellsReceived,
    CreatedReceived,
    CreateReceived,
    DestroyReceived,
    EndEvent,
    Event,
    ExtendRefused,
    ExtendRequested,
    HopAdded,
    LinkClosed,
    LinkEvent,
    LinkReady,
    Mine,
    PassOn,
    PeerAuthenticated,
    PongReceived,
    ResolveRequested,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamRequested,
    StreamResolved,
    StreamWritable,
)
from torpydo.tpdp.link import Link, LinkState
from torpydo.tpdp.messages import check_host
from torpydo.tpdp.origin import Hop, OriginCircuit, OriginEnd, OriginState
from torpydo.tpdp.transit import ExitEnd, TransitCircuit, TransitState

__all__ = [
    "BUFFER_HIGH",
    "BUFFER_LOW",
    "EXIT_READ",
    "MAX_HOPS",
    "WINDOW_MAX",
    "Address",
    "Cell",
    "CellsReceived",
    "CircuitEnd",
    "CreateReceived",
    "CreatedReceived",
    "DestroyReceived",
    "EndEvent",
    "EndReason",
    "Event",
    "ExitEnd",
    "ExtendRefused",
    "ExtendRequested",
    "ExtendStatus",
    "Hop",
    "HopAdded",
    "Link",
    "LinkClosed",
    "LinkEvent",
    "LinkReady",
    "LinkState",
    "Mine",
    "OriginCircuit",
    "OriginEnd",
    "OriginState",
    "PassOn",
    "PeerAuthenticated",
    "PongReceived",
    "ResolveRequested",
    "StreamConnected",
    "StreamData",
    "StreamEOF",
    "StreamEnded",
    "StreamRequested",
    "StreamResolved",
    "StreamWritable",
    "TransitCircuit",
    "TransitState",
    "check_host",
]
