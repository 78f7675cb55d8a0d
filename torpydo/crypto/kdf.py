"""Key derivation: one keyed BLAKE2b, and the table of every purpose string (docs/protocol, section Keys).

A key is derived for one purpose only; a new purpose is a new line in this file and nowhere else.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from typing import Final

_HASH_SIZE: Final = 32


class Person(Enum):
    """BLAKE2b personalisation of each derivation (at most 16 bytes)."""

    HELLO = b"tpdp1 hello"
    MESSAGE = b"tpdp1 message"
    SEED = b"tpdp1 seed"
    REPLY = b"tpdp1 reply"
    FORWARD = b"tpdp1 forward"
    BACKWARD = b"tpdp1 backward"
    BIND = b"tpdp1 bind"
    RATCHET = b"tpdp1 ratchet"
    AEGIS = b"tpdp1 aegis"
    DOCUMENT = b"tpdp1 document"
    BLIND = b"tpdp1 blind"
    BLIND_NONCE = b"tpdp1 blindnonce"
    SEQUENCE = b"tpdp1 sequence"
    NAME = b"tpdp1 name"
    PUZZLE = b"tpdp1 puzzle"
    OUTER = b"tpdp1 outer"
    INNER = b"tpdp1 inner"
    ENTRY = b"tpdp1 entry"
    ENTRY_ID = b"tpdp1 entry id"
    TARGET = b"tpdp1 target"
    PLACE = b"tpdp1 place"
    PRESENCE = b"tpdp1 presence"
    KNOWN = b"tpdp1 known"


class Purpose(Enum):
    """What a signature is for; the signed bytes begin with it."""

    DESCRIPTOR = b"TPDP/1 descriptor"
    HEARTBEAT = b"TPDP/1 heartbeat"
    LISTING = b"TPDP/1 listing"
    AUTH = b"TPDP/1 auth"
    ITEM = b"TPDP/1 item"
    INTRODUCTION = b"TPDP/1 introduction"
    PRESENCE = b"TPDP/1 presence"


def blake(data: bytes, person: Person, key: bytes = b"", size: int = 32) -> bytes:
    """BLAKE2b of *data* with an empty salt.

    :param key: at most 64 bytes
    :param size: length of the result in bytes, 1..64
    """
    return blake2b(data, digest_size=size, key=key, person=person.value).digest()


def document_hash(data: bytes) -> bytes:
    """The 32-byte name of a signed document: the ETag of a listing, the hash of a descriptor in a heartbeat."""
    return blake(data, Person.DOCUMENT)


def with_hash(body: bytes) -> bytes:
    """What a file holds so that a torn one is known as one: hash(32) ‖ body."""
    return document_hash(body) + body


def without_hash(data: bytes) -> bytes:
    """The body that :func:`with_hash` was given.

    :raises ValueError: if the hash does not fit
    """
    body = data[_HASH_SIZE:]
    if document_hash(body) != data[:_HASH_SIZE]:
        raise ValueError("the hash does not fit")
    return body
