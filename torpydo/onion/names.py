"""Names of onion services: a key, a checksum and a version in 56 characters (docs/protocol-onion, Names)."""

from __future__ import annotations

from base64 import b32decode, b32encode
from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE, DHPublicKey, Person, SigningKey, VerifyKey, blake, blind_public
from torpydo.errors import BadKey, ConfigurationError, OnionNameError

__all__ = ["PERIOD", "OnionName", "client_key_text", "is_onion", "parse_client_key", "period_of"]

SUFFIX: Final = ".torpydo"
VERSION: Final = b"\x01"
LENGTH: Final = 56
"""Characters of a name before the suffix."""
PERIOD: Final = 86_400
"""Seconds for which a blinded key counts."""


def is_onion(host: str) -> bool:
    """Whether *host* is meant to be the name of an onion service: it must never be asked of anybody else."""
    return f".{host.rstrip('.').lower()}".endswith(SUFFIX)


def period_of(time: float) -> int:
    """The number of the period that a moment is in, seconds since 1970."""
    return int(time) // PERIOD


def _checksum(raw: bytes) -> bytes:
    return blake(raw + VERSION, Person.NAME, size=2)


@attrs.frozen(repr=False)
class OnionName:
    """The name of a service.

    :ivar key: its identity
    """

    key: VerifyKey

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        """The name of the service that has *key*."""
        return cls(VerifyKey(key.public))

    @classmethod
    def parse(cls, host: str) -> Self:
        """Read a name; labels before it are the application's (``www.NAME.torpydo``), and case does not count.

        :raises OnionNameError: if it is none, with the reason
        """
        text = host.rstrip(".")
        if not text.lower().endswith(SUFFIX):
            raise OnionNameError(f"an onion service's name ends in {SUFFIX}")
        label = text[: -len(SUFFIX)].rpartition(".")[2]
        if len(label) != LENGTH:
            raise OnionNameError(
                f"an onion service's name has {LENGTH} characters before {SUFFIX}, not {len(label)}; was it cut off?"
            )
        try:
            # Bytes: some letters of other alphabets are ASCII's in capitals.
            raw = b32decode(label.encode("ascii").upper())
        except ValueError:
            raise OnionNameError("an onion service's name has letters a-z and digits 2-7 only") from None
        key, checksum, version = raw[:KEY_SIZE], raw[KEY_SIZE:-1], raw[-1:]
        if version != VERSION:
            raise OnionNameError("an onion service's name of a version that is not known here; is there an update?")
        if checksum != _checksum(key):
            raise OnionNameError("an onion service's name with a wrong letter; compare it with where you have it from")
        try:
            return cls(VerifyKey(key))
        except BadKey:
            raise OnionNameError("an onion service's name that belongs to no key; nobody can have it") from None

    def blinded(self, period: int) -> VerifyKey:
        """The key that its descriptors of *period* are signed with."""
        return blind_public(self.key, period)

    @property
    def short(self) -> str:
        """The first eight characters, for people."""
        return str(self)[:8]

    def __str__(self) -> str:
        raw = self.key.raw
        return b32encode(raw + _checksum(raw) + VERSION).decode().lower() + SUFFIX

    def __repr__(self) -> str:
        # Which services somebody uses is theirs to tell: a log has the beginning at the most (SECURITY I1).
        return f"<OnionName {self.short}>"


def client_key_text(key: DHPublicKey) -> str:
    """A client's public key as people hand it on: 52 characters."""
    return b32encode(key.raw).decode().lower().rstrip("=")


def parse_client_key(text: str) -> DHPublicKey:
    """Read such a text.

    :raises ConfigurationError: if it is none
    """
    try:
        raw = b32decode(text.encode("ascii").upper() + b"====")
    except ValueError:
        raw = b""
    if len(raw) != KEY_SIZE:
        raise ConfigurationError(f"{text!r} is no client's key; it has 52 letters and digits")
    return DHPublicKey(raw)
