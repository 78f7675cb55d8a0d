"""Blinded keys: a service signs with a key of the day that nobody can tie to its name (docs/protocol-onion, Names).

The day's key is the name's key times a factor that both sides compute; only who knows the name can compute it::

    h  = BLAKE(A ‖ period u64, "tpdp1 blind", size=64) mod l        A: the service's key, 32 bytes
    A' = h·A        a' = h·a mod l                                  a: its secret scalar

The idea and its proof are those of Tor's rend-spec-v3, section A.2; the hash and the clamping are not.
"""

from __future__ import annotations

from hashlib import sha512

import attrs
from nacl.bindings import (
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError as NaClError

from torpydo.crypto.kdf import Person, Purpose, blake
from torpydo.crypto.keys import Secret, SigningKey, VerifyKey
from torpydo.errors import BadKey

__all__ = ["BlindedKey", "blind", "blind_public"]


def _factor(service: VerifyKey, period: int) -> bytes:
    return crypto_core_ed25519_scalar_reduce(blake(service.raw + period.to_bytes(8), Person.BLIND, size=64))


def blind_public(service: VerifyKey, period: int) -> VerifyKey:
    """The key that signs for *service* in *period*.

    :param period: its number, 0..2^64-1
    :raises BadKey: if there is none, which no honest key comes to
    """
    try:
        return VerifyKey(crypto_scalarmult_ed25519_noclamp(_factor(service, period), service.raw))
    except (NaClError, RuntimeError):
        raise BadKey("a service's key that cannot be blinded was refused") from None


@attrs.frozen(repr=False, eq=False)
class BlindedKey:
    """The secret half of a day's key: signs as Ed25519 does (RFC 8032, section 5.1.6), with a scalar of its own.

    :ivar public: what its signatures are checked with
    """

    _scalar: Secret
    _prefix: Secret
    public: VerifyKey

    def __repr__(self) -> str:
        return f"<BlindedKey of {self.public.short}>"

    def sign(self, purpose: Purpose, data: bytes) -> bytes:
        """The 64-byte signature over the purpose string ‖ *data*; the same each time."""
        message = purpose.value + data
        nonce = crypto_core_ed25519_scalar_reduce(sha512(self._prefix + message).digest())
        point = crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = crypto_core_ed25519_scalar_reduce(sha512(point + self.public.raw + message).digest())
        product = crypto_core_ed25519_scalar_mul(challenge, bytes(self._scalar))
        return point + crypto_core_ed25519_scalar_add(nonce, product)

    def derive(self, data: bytes, person: Person, size: int = 32) -> bytes:
        """Bytes for *data* that nobody else can compute, other ones each day."""
        return blake(data, person, key=self._prefix, size=size)


def blind(key: SigningKey, period: int) -> BlindedKey:
    """The key with which the service of *key* signs in *period*."""
    service = VerifyKey(key.public)
    digest = sha512(key.seed).digest()
    # As every Ed25519 secret (RFC 8032, section 5.1.5), but reduced: the product is taken modulo the order anyway.
    clamped = bytes((digest[0] & 0xF8,)) + digest[1:31] + bytes((digest[31] & 0x7F | 0x40,))
    scalar = crypto_core_ed25519_scalar_reduce(clamped + bytes(32))
    return BlindedKey(
        Secret(crypto_core_ed25519_scalar_mul(_factor(service, period), scalar)),
        # Another one for each day: one nonce under two scalars would give both away.
        Secret(blake(digest[32:] + period.to_bytes(8), Person.BLIND_NONCE)),
        blind_public(service, period),
    )
