"""The distributed hash table: signed items, kept by the nodes that are closest to them. No I/O.

Source: docs/protocol-dht. Only what is named here is used from outside this room.
"""

from torpydo.dht.contacts import ALPHA, PATHS, WIDTH, Contact, Contacts, distance, place_of
from torpydo.dht.items import MAX_LIFE, MAX_SALT, MAX_VALUE, Item, target_of
from torpydo.dht.lookup import HOLDERS, Lookup
from torpydo.dht.messages import (
    DHT_HOST,
    DHT_PORT,
    MAX_FRAME,
    Find,
    Found,
    Put,
    PutAnswer,
    decode_question,
    frame,
    take_frame,
)
from torpydo.dht.participant import REFRESH, Participant
from torpydo.dht.storage import REPUBLISH, Storage, Verdict
from torpydo.dht.walks import Asked

__all__ = [
    "ALPHA",
    "DHT_HOST",
    "DHT_PORT",
    "HOLDERS",
    "MAX_FRAME",
    "MAX_LIFE",
    "MAX_SALT",
    "MAX_VALUE",
    "PATHS",
    "REFRESH",
    "REPUBLISH",
    "WIDTH",
    "Asked",
    "Contact",
    "Contacts",
    "Find",
    "Found",
    "Item",
    "Lookup",
    "Participant",
    "Put",
    "PutAnswer",
    "Storage",
    "Verdict",
    "decode_question",
    "distance",
    "frame",
    "place_of",
    "take_frame",
    "target_of",
]
