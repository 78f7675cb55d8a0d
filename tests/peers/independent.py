"""docs/protocol-peers in other words: hashlib and whole numbers alone, nothing of torpydo.

``python -m tests.peers.independent`` writes tests/vectors/peers.json, which the implementation must reproduce.
"""

from __future__ import annotations

import json
import sys
from hashlib import blake2b, sha256
from itertools import count
from pathlib import Path
from typing import Any

from tests.crypto import ed25519

FILE = Path(__file__).parent.parent / "vectors" / "peers.json"
NOW = 1_700_000_000


def made(what: str, size: int = 32) -> bytes:
    """Bytes that look random and are the same each time."""
    return b"".join(sha256(f"{what}/{number}".encode()).digest() for number in range(size // 32 + 1))[:size]


def public_of(seed: bytes) -> bytes:
    """The key of a name."""
    return ed25519.encode(ed25519.times(ed25519.secret_scalar(seed), ed25519.BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    """RFC 8032, 5.1.6."""
    scalar, public = ed25519.secret_scalar(seed), public_of(seed)
    nonce = int.from_bytes(ed25519.sha512(ed25519.sha512(seed).digest()[32:] + message).digest(), "little")
    point = ed25519.encode(ed25519.times(nonce % ed25519.ORDER, ed25519.BASE))
    challenge = int.from_bytes(ed25519.sha512(point + public + message).digest(), "little")
    return point + ((nonce + challenge * scalar) % ed25519.ORDER).to_bytes(32, "little")


def bits(data: bytes) -> int:
    """How many bits at the front of the hash of a record are zero."""
    digest = blake2b(data, digest_size=8, person=b"tpdp1 presence").digest()
    return len(f"{int.from_bytes(digest, 'big'):064b}".partition("1")[0])


def record(case: dict[str, Any]) -> tuple[bytes, bytes]:
    """The nonce and the whole record."""
    seed, topic, note = bytes.fromhex(case["seed"]), case["topic"].encode(), bytes.fromhex(case["note"])
    claim = b"\x01" + public_of(seed) + bytes((case["roles"],))
    claim += case["timestamp"].to_bytes(8, "big") + case["life"].to_bytes(2, "big") + case["port"].to_bytes(2, "big")
    claim += bytes((len(topic),)) + topic + bytes((len(note),)) + note
    signed = claim + sign(seed, b"TPDP/1 presence" + claim)
    start = int.from_bytes(bytes.fromhex(case["start"]), "big")
    for step in count():
        nonce = ((start + step) % 2**64).to_bytes(8, "big")
        if bits(signed + nonce) >= case["difficulty"]:
            return nonce, signed + nonce
    raise AssertionError


def framed(body: bytes) -> str:
    """A frame."""
    return (len(body).to_bytes(2, "big") + body).hex()


def vectors() -> dict[str, Any]:
    """All of them."""
    cases = []
    for number, (roles, life, port, topic, note, difficulty, start) in enumerate((
        (1, 3600, 8733, "chat", b"", 8, bytes(8)),
        (2, 1, 1, "x", b"note", 0, b"\xff" * 8),
        (3, 21_600, 65_535, "t" * 32, made("note", 128), 10, b"\xff" * 8),
    )):  # fmt: skip
        case: dict[str, Any] = {
            "seed": made(f"peer/{number}").hex(), "roles": roles, "timestamp": NOW + number, "life": life,
            "port": port, "topic": topic, "note": note.hex(), "difficulty": difficulty, "start": start.hex(),
        }  # fmt: skip
        nonce, whole = record(case)
        cases.append({**case, "nonce": nonce.hex(), "record": whole.hex()})
    salt = made("salt", 8)
    entries = []
    for case in cases:
        key = public_of(bytes.fromhex(case["seed"]))
        number = int.from_bytes(blake2b(key, digest_size=8, person=b"tpdp1 known").digest(), "big")
        product = number * (int.from_bytes(salt, "big") | 1) % 2**64
        entries.append((product // 2**32).to_bytes(4, "big") + case["timestamp"].to_bytes(8, "big")[4:])
    records = [bytes.fromhex(case["record"]) for case in cases]
    answer = bytes((3, len(records))) + b"".join(len(one).to_bytes(2, "big") + one for one in records)
    return {
        "records": cases,
        "messages": {
            "salt": salt.hex(), "digest": b"".join(entries).hex(), "count": 50,
            "hello": framed(b"\x01\x01" + records[0]), "hello_without_a_name": framed(b"\x01\x01"),
            "want": framed(b"\x02\x32" + salt + b"".join(entries)), "answer": framed(answer),
        },
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
    sys.exit(0)
