"""What onion services are made of: names, descriptors, introductions, puzzles, queues. No I/O, no clock, no randomness.

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
from torpydo.onion.puzzle import LEAST_EFFORT, MOST_EFFORT, proves, solve
from torpydo.onion.queue import IntroductionQueue
from torpydo.onion.sequence import MOST_SEQUENCE, draw_sequence, next_sequence
from torpydo.tpdp import NONCE_SIZE, SEED_SIZE, HandshakeKeys, Introduce2, IntroduceStatus, Proof

__all__ = [
    "LEAST_EFFORT",
    "MAX_CLIENTS",
    "MAX_POINTS",
    "MOST_EFFORT",
    "MOST_SEQUENCE",
    "NONCE_SIZE",
    "PERIOD",
    "SEED_SIZE",
    "DHPublicKey",
    "DHSecretKey",
    "HandshakeKeys",
    "Introduce2",
    "IntroduceStatus",
    "Introduced",
    "Introduction",
    "IntroductionPoint",
    "IntroductionQueue",
    "Meeting",
    "NodeId",
    "OnionName",
    "Proof",
    "Secret",
    "ServiceDescriptor",
    "SigningKey",
    "VerifyKey",
    "blind",
    "client_key_text",
    "draw_sequence",
    "is_onion",
    "next_sequence",
    "open_descriptor",
    "parse_client_key",
    "period_of",
    "proves",
    "seal_descriptor",
    "solve",
]
