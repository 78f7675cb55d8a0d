"""A copy of an identity as a file: a few lines of text that a person can read, print and type in again.

::

    torpydo backup 1
    kind: node            (or "pool", "service")
    id: 4qk3...
    made: 2030-01-31T12:00:00Z
    sequence: 0
    key: 7fbm...          (or "sealed: ..." if there is a passphrase)
    check: 0123...

The last line is the hash of all before it, so a copy that lost a character says so. Called by identity.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from collections.abc import Callable
from typing import Final, Self

import attrs

from torpydo.crypto import (
    KEY_SIZE,
    Secret,
    SigningKey,
    document_hash,
    open_with_passphrase,
    same,
    seal_with_passphrase,
)
from torpydo.errors import CryptoError, DecryptionFailed, StateError
from torpydo.onion import OnionName

__all__ = ["KEY_FILES", "Backup", "public_text"]

KEY_FILES: Final = {"node": "node.key", "pool": "pool.key", "service": "service.key"}
"""In which file of a state directory the key of each kind is."""
MAX_SIZE: Final = 4096
_MEMORY: Final = "end what uses it, lift MemoryMax= or ulimit -v, or do this on another machine"
_MAGIC: Final = "torpydo backup 1"
_LINES: Final = re.compile(
    rf"{_MAGIC}\nkind: (node|pool|service)\nid: ([a-z2-7]{{52}}|[a-z2-7]{{56}}\.torpydo)\nmade: ([0-9TZ:-]{{20}})\n"
    r"sequence: ([0-9]{1,16})\n"
    r"(key|sealed): ([a-z2-7]{52,400})\n",
    re.ASCII,
)
_CHECK: Final = re.compile(r"check: ([0-9a-f]{64})\s*", re.ASCII)


def public_text(kind: str, key: SigningKey) -> str:
    """What others call the identity: the id of a node, the key of a pool, the name of an onion service."""
    if kind == "service":
        return str(OnionName.of(key))
    return str(key.node_id if kind == "node" else key.pool_id)


@attrs.frozen
class Backup:
    """What a file holds.

    :ivar kind: ``node``, ``pool`` or ``service``
    :ivar public: the node id, the pool's key or the service's name
    :ivar made: when, in words
    :ivar sequence: the highest sequence of a pool's listings
    :ivar is_sealed: whether a passphrase is needed
    """

    kind: str
    public: str
    made: str
    sequence: int
    is_sealed: bool
    _key: bytes = attrs.field(repr=False)

    @classmethod
    def make(
        cls,
        kind: str,
        key: SigningKey,
        *,
        made: str,
        sequence: int,
        passphrase: Secret | None,
        rng: Callable[[int], bytes],
    ) -> Self:
        """A copy of *key*.

        :param rng: for the salt of the passphrase
        :raises StateError: if there is not enough memory for the passphrase
        """
        seed = bytes(key.seed)
        try:
            kept = seed if passphrase is None else seal_with_passphrase(seed, passphrase, rng)
        except CryptoError as error:
            raise StateError(f"the backup was not made: {error}; {_MEMORY}") from error
        return cls(kind, public_text(kind, key), made, sequence, passphrase is not None, kept)

    def encode(self) -> str:
        """The file."""
        word = "sealed" if self.is_sealed else "key"
        text = b32encode(self._key).decode().rstrip("=").lower()
        body = f"{_MAGIC}\nkind: {self.kind}\nid: {self.public}\nmade: {self.made}\nsequence: {self.sequence}\n"
        body += f"{word}: {text}\n"
        return f"{body}check: {document_hash(body.encode()).hex()}\n"

    @classmethod
    def decode(cls, text: str, name: str) -> Self:
        """Read a file.

        :param name: what the file is called, for messages
        :raises StateError: if it is not a backup, or is damaged
        """
        body, check, _ = text.partition("check: ")
        match, last = _LINES.fullmatch(body), _CHECK.fullmatch(text[len(body) :])
        if not text.startswith("torpydo backup "):
            raise StateError(f"{name}: it is not a backup that 'torpydo identity backup' made")
        if not text.startswith(f"{_MAGIC}\n"):
            raise StateError(f"{name}: a later version of torpydo wrote it; restore it with that one")
        damaged = StateError(f"{name}: the backup is damaged, not one character may differ; use another copy")
        if match is None or last is None or not same(document_hash(body.encode()).hex().encode(), last[1].encode()):
            raise damaged
        kind, public, made, sequence, word, kept = match.groups()
        try:
            raw = b32decode(kept.upper() + "=" * (-len(kept) % 8))
        except ValueError:
            raise damaged from None
        return cls(kind, public, made, int(sequence), word == "sealed", raw)

    def key(self, passphrase: Secret | None, name: str) -> SigningKey:
        """The identity.

        :param passphrase: ``None`` if there is none
        :param name: what the file is called, for messages
        :raises StateError: if the passphrase is missing or wrong, the key is not that of the id, or there is not enough
            memory for the passphrase
        """
        seed = self._key
        if self.is_sealed:
            if passphrase is None:
                raise StateError(f"{name}: it is sealed; give its passphrase with --passphrase-file=FILE")
            try:
                seed = open_with_passphrase(seed, passphrase)
            except DecryptionFailed:
                raise StateError(f"{name}: the passphrase is not the one that it was sealed with") from None
            except CryptoError as error:
                raise StateError(f"{name}: the backup was not opened: {error}; {_MEMORY}") from error
        if len(seed) != KEY_SIZE:
            raise StateError(f"{name}: the backup is damaged, its key has another length; use another copy")
        key = SigningKey(Secret(seed))
        if public_text(self.kind, key) != self.public:
            raise StateError(f"{name}: the key in it is not that of {self.public}; use another copy")
        return key
