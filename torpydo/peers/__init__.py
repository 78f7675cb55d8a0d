"""How applications find each other: signed presence records, the table of those who are known, and exchanges. No I/O.

Source: docs/protocol-peers. Only what is named here is used from outside this room.
"""

from torpydo.peers.bootstrap import MAX_DOCUMENT, Document
from torpydo.peers.entries import Change, Peer, State, Verdict, Verified
from torpydo.peers.exchange import MAX_FRAME, Exchange, Hello, Records, Want, decode_message, frame, take_frame
from torpydo.peers.kept import Kept, KeptPeer
from torpydo.peers.presence import (
    MAX_DIFFICULTY,
    MAX_LIFE,
    MAX_NOTE,
    MAX_RECORD,
    MAX_TOPIC,
    PORT,
    Claim,
    Presence,
    Role,
    Search,
)
from torpydo.peers.sources import STRANGERS, Sources
from torpydo.peers.table import AHEAD, Table
from torpydo.peers.visits import ALONE, Address, Visits

__all__ = [
    "AHEAD",
    "ALONE",
    "MAX_DIFFICULTY",
    "MAX_DOCUMENT",
    "MAX_FRAME",
    "MAX_LIFE",
    "MAX_NOTE",
    "MAX_RECORD",
    "MAX_TOPIC",
    "PORT",
    "STRANGERS",
    "Address",
    "Change",
    "Claim",
    "Document",
    "Exchange",
    "Hello",
    "Kept",
    "KeptPeer",
    "Peer",
    "Presence",
    "Records",
    "Role",
    "Search",
    "Sources",
    "State",
    "Table",
    "Verdict",
    "Verified",
    "Visits",
    "Want",
    "decode_message",
    "frame",
    "take_frame",
]
