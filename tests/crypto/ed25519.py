"""Ed25519 in whole numbers (RFC 8032, section 5.1), slow and independent of every library."""

from __future__ import annotations

from hashlib import sha512

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT = pow(2, (PRIME - 1) // 4, PRIME)

Point = tuple[int, int]


def _x_of(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * ROOT % PRIME
    assert not (x * x - square) % PRIME, "not on the curve"
    return PRIME - x if x % 2 != sign else x


BASE: Point = (_x_of(4 * pow(5, -1, PRIME) % PRIME, 0), 4 * pow(5, -1, PRIME) % PRIME)


def add(one: Point, other: Point) -> Point:
    """The sum of two points."""
    (x, y), (u, v) = one, other
    product = D * x * u * y * v
    return (
        (x * v + u * y) * pow(1 + product, -1, PRIME) % PRIME,
        (y * v + x * u) * pow(1 - product, -1, PRIME) % PRIME,
    )


def times(number: int, point: Point) -> Point:
    """A multiple of a point."""
    result: Point = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def encode(point: Point) -> bytes:
    """A point in 32 bytes."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    """The point of 32 bytes."""
    number = int.from_bytes(data, "little")
    y = number & (1 << 255) - 1
    return _x_of(y, number >> 255), y


def secret_scalar(seed: bytes) -> int:
    """The secret number of a seed."""
    number = int.from_bytes(sha512(seed).digest()[:32], "little")
    return number & (1 << 254) - 8 | 1 << 254


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature holds."""
    point, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    challenge = int.from_bytes(sha512(point + public + message).digest(), "little") % ORDER
    return times(scalar, BASE) == add(decode(point), times(challenge, decode(public)))
