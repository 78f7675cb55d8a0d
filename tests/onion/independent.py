"""docs/protocol-onion in other words: NaCl's functions and hashlib alone, nothing of torpydo.

``python -m tests.onion.independent`` writes tests/vectors/service.json, which the implementation must reproduce.
"""

from __future__ import annotations

import json
import sys
from base64 import b32encode
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from nacl import bindings

from tests.crypto import ed25519

FILE = Path(__file__).parent.parent / "vectors" / "service.json"


def blake(data: bytes, person: str, key: bytes = b"", size: int = 32) -> bytes:
    """BLAKE of the protocol."""
    return blake2b(data, digest_size=size, key=key, person=person.encode()).digest()


def seal(message: bytes, key: bytes) -> bytes:
    """With a nonce of zeros."""
    return bindings.crypto_secretbox(message, bytes(24), key)


def agree(public: bytes, secret: bytes) -> bytes:
    """NaCl Box's shared key."""
    return bindings.crypto_box_beforenm(public, secret)


def made(what: str, size: int = 32) -> bytes:
    """Bytes that look random and are the same each time."""
    return b"".join(sha256(f"{what}/{number}".encode()).digest() for number in range(size // 32 + 1))[:size]


def public_of(secret: bytes) -> bytes:
    """Of an X25519 key."""
    return bindings.crypto_scalarmult_base(secret)


def identity_of(seed: bytes) -> bytes:
    """The public key of an Ed25519 seed, by whole numbers."""
    return ed25519.encode(ed25519.times(ed25519.secret_scalar(seed), ed25519.BASE))


def blinded(seed: bytes, period: int, message: bytes) -> tuple[bytes, bytes]:
    """The key of a day, and its signature of *message*."""
    public, number = identity_of(seed), period.to_bytes(8, "big")
    factor = int.from_bytes(blake(public + number, "tpdp1 blind", size=64), "little") % ed25519.ORDER
    scalar = factor * ed25519.secret_scalar(seed) % ed25519.ORDER
    key = ed25519.encode(ed25519.times(scalar, ed25519.BASE))
    prefix = blake(ed25519.sha512(seed).digest()[32:] + number, "tpdp1 blindnonce")
    nonce = int.from_bytes(ed25519.sha512(prefix + message).digest(), "little") % ed25519.ORDER
    point = ed25519.encode(ed25519.times(nonce, ed25519.BASE))
    challenge = int.from_bytes(ed25519.sha512(point + key + message).digest(), "little") % ed25519.ORDER
    return key, point + ((nonce + challenge * scalar) % ed25519.ORDER).to_bytes(32, "little")


def name_of(public: bytes) -> str:
    """The name of a service."""
    checksum = blake(public + b"\x01", "tpdp1 name", size=2)
    return b32encode(public + checksum + b"\x01").decode().lower() + ".torpydo"


def point(number: int) -> bytes:
    """An introduction point of a descriptor."""
    keys = [identity_of(made(f"point/{number}/{what}")) for what in ("node", "key")]
    return b"".join(keys) + public_of(made(f"point/{number}/service")) + made(f"point/{number}/seed")


def descriptor(
    service: bytes, day: bytes, sequence: int, clients: list[bytes], points: int
) -> tuple[bytes, list[bytes]]:
    """A value, and the draws that were made for it, in the order of the drawing."""
    context = day + sequence.to_bytes(8, "big")
    ephemeral = made(f"ephemeral/{sequence}")
    draws = [ephemeral]
    cookie = b""
    if clients:
        cookie = made(f"cookie/{sequence}")
        draws.append(cookie)
    entries = []
    for client in clients:
        shared = agree(client, ephemeral)
        entry = blake(context, "tpdp1 entry id", key=shared, size=8)
        entries.append(entry + seal(cookie, blake(context, "tpdp1 entry", key=shared)))
    while not entries or len(entries) % 16:
        draws.append(made(f"entry/{sequence}/{len(entries)}", 56))
        entries.append(draws[-1])
    body = b"\x01" + (77).to_bytes(4, "big") + bytes((points,)) + b"".join(map(point, range(points)))
    inner = seal(body + bytes(1536 - len(body)), blake(context + cookie, "tpdp1 inner", key=service))
    outer = public_of(ephemeral) + bytes((len(entries),)) + b"".join(sorted(entries)) + inner
    return seal(outer, blake(context, "tpdp1 outer", key=service)), draws


def option(kind: int, value: bytes) -> bytes:
    """One option of a handshake."""
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def introduction(service: bytes, key: bytes) -> dict[str, str]:
    """A whole handshake between a client and a service."""
    x, y = made("client"), made("service")
    cookie, node = made("cookie", 20), identity_of(made("rendezvous"))
    options = option(1, b"\x01") + option(16, cookie + node)
    first, second = agree(public_of(key), x), agree(public_of(y), x)
    head = b"TPDP/1 service"
    hello = blake(head + service + public_of(key) + public_of(x), "tpdp1 hello", key=first)
    message = public_of(x) + seal(options + bytes(464 - len(options)), hello)
    transcript = blake(message, "tpdp1 message")
    whole = head + second + first + service + public_of(key) + public_of(x) + public_of(y) + transcript
    seed = blake(whole, "tpdp1 seed", size=64)
    reply_options = option(1, b"\x01")
    reply = public_of(y) + seal(reply_options + bytes(464 - len(reply_options)), blake(b"", "tpdp1 reply", key=seed))
    found = {
        "service_key": key, "client_ephemeral": x, "service_ephemeral": y, "cookie": cookie, "node_id": node,
        "client_message": message, "relay_message": reply,
        "forward": blake(b"", "tpdp1 forward", key=seed), "backward": blake(b"", "tpdp1 backward", key=seed),
    }  # fmt: skip
    return {name: value.hex() for name, value in found.items()}


def proof(seed: bytes, message: bytes, effort: int) -> bytes:
    """The first number from 0 on that proves an effort."""
    number = 0
    while True:
        nonce = number.to_bytes(16, "big")
        if int.from_bytes(blake(seed + message + nonce, "tpdp1 puzzle", size=8), "big") * effort < 1 << 64:
            return nonce
        number += 1


def introduce(message: bytes) -> dict[str, Any]:
    """What a client says to an introduction point, and what that says to the service."""
    key, seed = identity_of(made("point/0/key")), made("point/0/seed")
    proven = (1000).to_bytes(4, "big") + proof(seed, message, 1000)
    found = {
        "key": key, "seed": seed, "nonce": proven[4:],
        "introduce1": key + proven + message, "introduce2": proven + (301).to_bytes(4, "big") + message,
    }  # fmt: skip
    return {"effort": 1000, "refused": 301, **{name: value.hex() for name, value in found.items()}}


def vectors() -> dict[str, Any]:
    """All of them."""
    blindings = []
    for number, period in enumerate((0, 20_778, 2**64 - 1)):
        seed, message = made(f"identity/{number}"), b"TPDP/1 item" + made("message", 50)
        key, signature = blinded(seed, period, message)
        blindings.append({
            "seed": seed.hex(), "name": name_of(identity_of(seed)), "period": period, "blinded": key.hex(),
            "message": message[11:].hex(), "signature": signature.hex(),
        })  # fmt: skip
    seed = made("identity/0")
    service, (day, _) = identity_of(seed), blinded(seed, 20_778, b"")
    descriptors = []
    for sequence, clients, points in ((1, 0, 1), (2, 3, 3), (3, 17, 10)):
        secrets = [made(f"client/{number}") for number in range(clients)]
        value, draws = descriptor(service, day, sequence, list(map(public_of, secrets)), points)
        descriptors.append({
            "sequence": sequence, "clients": [secret.hex() for secret in secrets], "value": value.hex(),
            "draws": [draw.hex() for draw in draws], "points": [point(number).hex() for number in range(points)],
        })  # fmt: skip
    introduced = introduction(service, made("service key"))
    return {
        "blinding": blindings,
        "descriptor": {
            "service": service.hex(), "blinded": day.hex(), "effort": 77, "cases": descriptors,
        },
        "introduction": {"service": service.hex(), **introduced},
        "introduce": introduce(bytes.fromhex(introduced["client_message"])),
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
    sys.exit(0)
