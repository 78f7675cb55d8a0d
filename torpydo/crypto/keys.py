"""Keys as classes: what can be printed shows a fingerprint, what is secret shows nothing.

An Ed25519 key signs (:class:`SigningKey`, :class:`VerifyKey`); an X25519 key agrees (:class:`DHSecretKey`,
:class:`DHPublicKey`). A node's identity is both: its signing key converts to the key of its links.
CPython cannot promise to wipe memory: secrets are dropped, not overwritten (docs/threat-model).
"""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode
from typing import Self

import attrs
from nacl.bindings import (
    crypto_box_beforenm,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError as NaClError

from torpydo.crypto.kdf import Purpose
from torpydo.errors import BadKey, BadSignature

KEY_SIZE = 32
SIGNATURE_SIZE = 64


class Secret(bytes):
    """Secret bytes that do not show themselves."""

    def __repr__(self) -> str:
        return f"<secret of {len(self)} bytes>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


def same(left: bytes, right: bytes) -> bool:
    """Compare secret-dependent bytes in constant time."""
    return hmac.compare_digest(left, right)


def _check_size(raw: bytes, what: str) -> None:
    if len(raw) != KEY_SIZE:
        raise BadKey(f"a {what} has {KEY_SIZE} bytes, not {len(raw)}")


@attrs.frozen(repr=False)
class DHPublicKey:
    """An X25519 public key."""

    raw: bytes

    def __attrs_post_init__(self) -> None:
        _check_size(self.raw, "public key")

    def __repr__(self) -> str:
        return f"<DHPublicKey {self.raw[:4].hex()}>"


@attrs.frozen(repr=False, eq=False)
class DHSecretKey:
    """An X25519 secret key: an onion key, an ephemeral key, or an identity in its second form.

    :ivar public: the public half
    """

    raw: Secret = attrs.field(converter=Secret)
    public: DHPublicKey = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        _check_size(self.raw, "secret key")
        object.__setattr__(self, "public", DHPublicKey(crypto_scalarmult_base(bytes(self.raw))))

    def __repr__(self) -> str:
        return f"<DHSecretKey of {self.public!r}>"

    def agree(self, peer: DHPublicKey) -> Secret:
        """NaCl Box's shared key with *peer* (``beforenm``).

        :raises BadKey: if *peer* is one of the low-order points
        """
        try:
            return Secret(crypto_box_beforenm(peer.raw, self.raw))
        except (NaClError, RuntimeError):
            raise BadKey("a public key of low order was refused") from None


@attrs.frozen(repr=False, order=True)
class VerifyKey:
    """An Ed25519 public key that also converts to an X25519 key.

    :raises BadKey: from the constructor, if *raw* is not a point of the main subgroup
    """

    raw: bytes

    def __attrs_post_init__(self) -> None:
        _check_size(self.raw, "public key")
        self.dh_key()

    def dh_key(self) -> DHPublicKey:
        """The X25519 form: the key of this identity's links."""
        try:
            return DHPublicKey(crypto_sign_ed25519_pk_to_curve25519(self.raw))
        except (NaClError, RuntimeError):
            raise BadKey("an Ed25519 public key that does not convert was refused") from None

    def verify(self, purpose: Purpose, data: bytes, signature: bytes) -> None:
        """Check *signature* over the purpose string ‖ *data*.

        :raises BadSignature: if it does not verify
        """
        if len(signature) != SIGNATURE_SIZE:
            raise BadSignature(f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}")
        try:
            crypto_sign_open(signature + purpose.value + data, self.raw)
        except NaClError:
            raise BadSignature(f"the signature for {purpose.value.decode()!r} does not verify") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the base32 form, in either case.

        :raises BadKey: if it is not one
        """
        try:
            raw = b32decode(text.upper() + "=" * (-len(text) % 8))
        except ValueError:
            raise BadKey("a key is written as 52 base32 characters") from None
        return cls(raw)

    @property
    def short(self) -> str:
        """The first eight characters, for people."""
        return str(self)[:8]

    def __str__(self) -> str:
        return b32encode(self.raw).decode().rstrip("=").lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.short}>"


class NodeId(VerifyKey):
    """A node's identity: the Ed25519 public key that its descriptor and its links are checked against."""

    __slots__ = ()


class PoolId(VerifyKey):
    """A pool's identity: the Ed25519 public key that its listings are checked against."""

    __slots__ = ()


@attrs.frozen(repr=False, eq=False)
class SigningKey:
    """An Ed25519 secret key, made from its 32-byte seed."""

    seed: Secret = attrs.field(converter=Secret)
    _expanded: Secret = attrs.field(init=False)
    public: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        _check_size(self.seed, "seed")
        public, expanded = crypto_sign_seed_keypair(bytes(self.seed))
        object.__setattr__(self, "public", public)
        object.__setattr__(self, "_expanded", Secret(expanded))

    def __repr__(self) -> str:
        return f"<SigningKey of {self.node_id.short}>"

    @property
    def node_id(self) -> NodeId:
        """The public key as a node's identity."""
        return NodeId(self.public)

    @property
    def pool_id(self) -> PoolId:
        """The public key as a pool's identity."""
        return PoolId(self.public)

    def dh_key(self) -> DHSecretKey:
        """The X25519 form: the secret key of this identity's links."""
        return DHSecretKey(crypto_sign_ed25519_sk_to_curve25519(bytes(self._expanded)))

    def sign(self, purpose: Purpose, data: bytes) -> bytes:
        """The 64-byte signature over the purpose string ‖ *data*."""
        return crypto_sign(purpose.value + data, bytes(self._expanded))[:SIGNATURE_SIZE]
