"""The vectors of tests/vectors, made by an independent program, and the streams of bytes that they name."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from torpydo.crypto import Person, blake

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    """The content of tests/vectors/*name*.json."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def stream(seed: str, size: int) -> bytes:
    """The sha256 counter stream of *seed*: sha256("SEED/0") ‖ sha256("SEED/1") ‖ …"""
    parts = [sha256(f"{seed}/{number}".encode()).digest() for number in range(size // 32 + 1)]
    return b"".join(parts)[:size]


def ratcheted(key: bytes, times: int) -> bytes:
    """The key after *times* turns of the ratchet."""
    for _ in range(times):
        key = blake(b"", Person.RATCHET, key=key)
    return key
