"""The only room that imports nacl: keys, boxes with their nonce rule, and the key derivation table.

Everything here is a pure function or a value: randomness comes in as an argument.
"""

from torpydo.crypto.blinding import BlindedKey, blind, blind_public
from torpydo.crypto.boxes import (
    AEGIS_OVERHEAD,
    CELL_BACKWARD_ORIGIN,
    CELL_BACKWARD_PASS,
    CELL_FORWARD,
    CELL_JOINED,
    MAC_SIZE,
    ZERO_NONCE,
    aegis_open,
    aegis_seal,
    aegis_supported,
    cell_nonce,
    open_sealed,
    record_nonce,
    seal,
)
from torpydo.crypto.kdf import Person, Purpose, blake, document_hash
from torpydo.crypto.keys import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    DHPublicKey,
    DHSecretKey,
    NodeId,
    PoolId,
    Secret,
    SigningKey,
    VerifyKey,
    same,
)
from torpydo.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from torpydo.crypto.stamp import (
    MAX_STAMP_BITS,
    STAMP_SIZE,
    Work,
    claimed_bits,
    find_stamp,
    prove_work,
    stamp_holds,
)

__all__ = [
    "AEGIS_OVERHEAD",
    "CELL_BACKWARD_ORIGIN",
    "CELL_BACKWARD_PASS",
    "CELL_FORWARD",
    "CELL_JOINED",
    "KEY_SIZE",
    "MAC_SIZE",
    "MAX_STAMP_BITS",
    "SIGNATURE_SIZE",
    "STAMP_SIZE",
    "ZERO_NONCE",
    "BlindedKey",
    "DHPublicKey",
    "DHSecretKey",
    "NodeId",
    "Person",
    "PoolId",
    "Purpose",
    "Secret",
    "SigningKey",
    "VerifyKey",
    "Work",
    "aegis_open",
    "aegis_seal",
    "aegis_supported",
    "blake",
    "blind",
    "blind_public",
    "cell_nonce",
    "claimed_bits",
    "document_hash",
    "find_stamp",
    "open_sealed",
    "open_with_passphrase",
    "prove_work",
    "record_nonce",
    "same",
    "seal",
    "seal_with_passphrase",
    "stamp_holds",
]
