"""Doubles of pools and of a state directory, for the tests of listings and of the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from tests.directory.build import NOW, key, listing
from torpydo.directory import NetDir, PoolURL, listing_etag, sign_listing
from torpydo.errors import PoolUnreachable, StateError
from torpydo.net.fetch import Fetched
from torpydo.net.listings import LISTING_PATH, TIME_PATH

Answer = bytes | int | Exception | Deferred[Fetched]
"""What a pool answers: a body, a status, an error, or nothing yet."""


def signed(pool: object = "pool", documents: Any = (), **overrides: Any) -> bytes:
    """The bytes of a listing of ``key(pool)``."""
    return sign_listing(listing(pool, documents, **overrides), key(pool))


@attrs.define(eq=False)
class Pools:
    """Answers fetches from a table, and remembers what was asked."""

    answers: dict[tuple[str, int], Answer] = attrs.field(factory=dict)
    clock: int | None = None
    """What every pool says the time is; ``None``: it does not say."""
    asked: list[tuple[str, int, str, str | None]] = attrs.field(factory=list)

    def fetch(self, reactor: Any, host: str, port: int, path: str, **options: Any) -> Deferred[Fetched]:
        """Like ``net.fetch``."""
        self.asked.append((host, port, path, options.get("etag")))
        if path == TIME_PATH:
            if self.clock is None:
                return fail(PoolUnreachable("no time"))
            return succeed(Fetched(200, str(self.clock).encode(), None, False))
        answer = self.answers.get((host, port), PoolUnreachable(f"the pool at {host}:{port} cannot be asked"))
        if isinstance(answer, Deferred):
            del self.answers[host, port]
            return answer
        if isinstance(answer, Exception):
            return fail(answer)
        if isinstance(answer, int):
            return succeed(Fetched(answer, b"", None, False))
        if options.get("etag") == listing_etag(answer):
            return succeed(Fetched(304, b"", None, True))
        return succeed(Fetched(200, answer, None, False))

    def times_asked(self, host: str = "127.0.0.1", port: int = 8080) -> int:
        """How often a listing was fetched from one pool."""
        return sum(1 for asked in self.asked if asked[:3] == (host, port, LISTING_PATH))


@attrs.define(eq=False)
class MemoryState:
    """A state directory that is a dictionary."""

    files: dict[str, bytes] = attrs.field(factory=dict)
    full: bool = False
    """True: the disk is full."""
    closed: bool = False

    def read(self, name: str) -> bytes | None:
        """Like ``StateDirectory.read``."""
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Like ``StateDirectory.write``."""
        if self.full:
            raise StateError(f"/state/{name}: No space left on device")
        self.files[name] = data

    def set_aside(self, name: str) -> str:
        """Like ``StateDirectory.set_aside``."""
        if self.full:
            raise StateError(f"/state/{name}: No space left on device")
        self.files[f"{name}.bad"] = self.files.pop(name)
        return self.path(f"{name}.bad")

    def path(self, name: str) -> str:
        """Like ``StateDirectory.path``."""
        return f"/state/{name}"

    def close(self) -> None:
        """Like ``StateDirectory.close``."""
        self.closed = True


@attrs.define
class WallClock:
    """Seconds since 1970, as a test sets them."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@attrs.define(eq=False)
class Views:
    """Takes the views that ``on_change`` gives."""

    seen: list[NetDir] = attrs.field(factory=list)

    def __call__(self, netdir: NetDir) -> None:
        self.seen.append(netdir)


def middle(limit: int) -> int:
    """A number below *limit* that is always the same."""
    return limit // 2


def unkeyed(host: str = "127.0.0.1", port: int = 8080) -> PoolURL:
    """A URL without a key."""
    return PoolURL(host, port, None)


Randbelow = Callable[[int], int]
