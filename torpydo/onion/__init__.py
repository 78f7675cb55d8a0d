"""What onion services are made of: names, descriptors, introductions, puzzles. No I/O, no clock, no randomness.

Source: docs/protocol-onion. Only what is named here is used from outside this room.
"""

from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, Secret, SigningKey, VerifyKey, blind
from torpydo.onion.descriptor import (
    MAX_CLIENTS,
    MAX_POINTS,
    IntroductionPoint,
    ServiceDescriptor,
    open_descriptor,
    seal_descriptor,
)
from torpydo.onion.introduction import Introduced, Introduction, Meeting
from torpydo.onion.names import PERIOD, OnionName, client_key_text, is_onion, parse_client_key, period_of
from torpydo.onion.puzzle import LEAST_EFFORT, MOST_EFFORT, NONCE_SIZE, Puzzle, solve
from torpydo.tpdp import HandshakeKeys, IntroduceStatus

__all__ = [
    "LEAST_EFFORT",
    "MAX_CLIENTS",
    "MAX_POINTS",
    "MOST_EFFORT",
    "NONCE_SIZE",
    "PERIOD",
    "DHPublicKey",
    "DHSecretKey",
    "HandshakeKeys",
    "IntroduceStatus",
    "Introduced",
    "Introduction",
    "IntroductionPoint",
    "Meeting",
    "NodeId",
    "OnionName",
    "Puzzle",
    "Secret",
    "ServiceDescriptor",
    "SigningKey",
    "VerifyKey",
    "blind",
    "client_key_text",
    "is_onion",
    "open_descriptor",
    "parse_client_key",
    "period_of",
    "seal_descriptor",
    "solve",
]
