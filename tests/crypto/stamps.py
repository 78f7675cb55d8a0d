"""docs/protocol-directory, section Stamps, in other words: OpenSSL's Argon2id and hashlib, nothing of torpydo or NaCl.

``python -m tests.crypto.stamps`` writes tests/vectors/stamp.json, which the implementation must reproduce.
"""

from __future__ import annotations

import json
import sys
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

FILE = Path(__file__).parent.parent / "vectors" / "stamp.json"
# The last one was looked for: its stamp has more bits than it would have by chance.
CASES = (("first", 0), ("first", 1), ("second", 2**64 - 1), ("second", 0x0123456789ABCDEF), ("second", 142))


def proof(node_id: bytes, number: bytes) -> bytes:
    """One try."""
    kdf = Argon2id(salt=b"tpdp1 node stamp", length=16, iterations=1, lanes=1, memory_cost=64 * 1024)
    made: bytes = kdf.derive(node_id + number)
    return made


def case(name: str, number: int) -> dict[str, Any]:
    """One stamp, and where it leads."""
    node_id, raw = sha256(name.encode()).digest(), number.to_bytes(8, "big")
    stamp = raw + proof(node_id, raw)
    bits = f"{int.from_bytes(stamp[8:], 'big'):0128b}".index("1")
    place = blake2b(node_id + stamp, digest_size=32, person=b"tpdp1 place").hexdigest()
    return {"node_id": node_id.hex(), "number": number, "stamp": stamp.hex(), "bits": bits, "place": place}


def vectors() -> list[dict[str, Any]]:
    """All of them."""
    return [case(name, number) for name, number in CASES]


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
    sys.stdout.write(f"{FILE}\n")
