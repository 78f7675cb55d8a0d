"""Boxes that a passphrase opens, for copies of keys that leave the machine (SECURITY X4).

The passphrase is stretched with Argon2id, so that each guess costs memory and time. Called by ``torpydo identity``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id

from torpydo.crypto.boxes import MAC_SIZE, ZERO_NONCE, open_sealed, seal
from torpydo.crypto.keys import KEY_SIZE, Secret
from torpydo.errors import CryptoError, DecryptionFailed

__all__ = ["open_with_passphrase", "seal_with_passphrase"]

SALT_SIZE: Final = argon2id.SALTBYTES


def _stretch(passphrase: Secret, salt: bytes) -> bytes:
    try:
        # 256 MiB for most of a second: libsodium's figures for what is not asked for often.
        return argon2id.kdf(
            KEY_SIZE, passphrase, salt, opslimit=argon2id.OPSLIMIT_MODERATE, memlimit=argon2id.MEMLIMIT_MODERATE
        )
    except NaClRuntimeError:
        raise CryptoError("there is not enough memory for the passphrase: it takes 256 MiB") from None


def seal_with_passphrase(data: bytes, passphrase: Secret, rng: Callable[[int], bytes]) -> bytes:
    """Seal *data*: salt ‖ box. The salt makes the key new each time, so one nonce will do.

    :param rng: gives that many random bytes
    :raises CryptoError: if there is not enough memory
    """
    salt = rng(SALT_SIZE)
    return salt + seal(data, ZERO_NONCE, _stretch(passphrase, salt))


def open_with_passphrase(box: bytes, passphrase: Secret) -> bytes:
    """Open what :func:`seal_with_passphrase` made.

    :raises DecryptionFailed: if the passphrase is another one, or the box is damaged
    :raises CryptoError: if there is not enough memory
    """
    if len(box) < SALT_SIZE + MAC_SIZE:
        raise DecryptionFailed("a box is too short to be one")
    return open_sealed(box[SALT_SIZE:], ZERO_NONCE, _stretch(passphrase, box[:SALT_SIZE]))
