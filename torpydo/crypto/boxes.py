"""Sealed boxes and the nonce rule (docs/protocol, sections Records and Cells).

A nonce is always built by this file from a counter that its owner never repeats under one key.
Everything takes and gives ``bytes``; the length of a box is that of the message plus :data:`MAC_SIZE`.
"""

from __future__ import annotations

from nacl.bindings import (
    crypto_aead_aegis256_decrypt,
    crypto_aead_aegis256_encrypt,
    crypto_secretbox_easy,
    crypto_secretbox_open_easy,
)
from nacl.exceptions import CryptoError as NaClError

from torpydo.errors import DecryptionFailed

MAC_SIZE = 16
AEGIS_OVERHEAD = 32
ZERO_NONCE = bytes(24)

CELL_FORWARD = 0x01
CELL_BACKWARD_PASS = 0x11
CELL_BACKWARD_ORIGIN = 0x12
CELL_JOINED = 0x21

seal = crypto_secretbox_easy
"""``seal(message, nonce, key)``: NaCl SecretBox, giving MAC ‖ ciphertext. Bound directly: it is the hot path."""

_CELL_PREFIXES = {
    (kind, command): bytes((kind, command)) + bytes(14)
    for kind in (CELL_FORWARD, CELL_BACKWARD_PASS, CELL_BACKWARD_ORIGIN, CELL_JOINED)
    for command in range(256)
}
_RECORD_PREFIX = bytes(16)


def cell_nonce(kind: int, command: int, counter: int) -> bytes:
    """The nonce of one layer of one cell: kind u8 ‖ command u8 ‖ 0^14 ‖ counter u64."""
    return _CELL_PREFIXES[kind, command] + counter.to_bytes(8, "big")


def record_nonce(counter: int) -> bytes:
    """The nonce of one seal of a link record: 0^16 ‖ counter u64."""
    return _RECORD_PREFIX + counter.to_bytes(8, "big")


def open_sealed(box: bytes, nonce: bytes, key: bytes) -> bytes:
    """Open what :func:`seal` made.

    :raises DecryptionFailed: if the MAC does not verify
    """
    try:
        return crypto_secretbox_open_easy(box, nonce, key)
    except NaClError:
        raise DecryptionFailed("a sealed box does not open") from None


def aegis_seal(message: bytes, counter: int, key: bytes) -> bytes:
    """AEGIS-256 of the second part of a record: nonce 0^24 ‖ counter u64, no associated data."""
    return crypto_aead_aegis256_encrypt(message, None, bytes(24) + counter.to_bytes(8, "big"), key)


def aegis_open(box: bytes, counter: int, key: bytes) -> bytes:
    """Open what :func:`aegis_seal` made.

    :raises DecryptionFailed: if the tag does not verify
    """
    try:
        return crypto_aead_aegis256_decrypt(box, None, bytes(24) + counter.to_bytes(8, "big"), key)
    except (NaClError, ValueError):
        raise DecryptionFailed("a sealed record does not open") from None


def aegis_supported(cpu_flags: str) -> bool:
    """Whether AEGIS-256 pays: only where the processor has AES instructions.

    :param cpu_flags: the processor's feature words, as ``/proc/cpuinfo`` has them; empty if unknown
    """
    return "aes" in cpu_flags.split()
