"""What a client takes from outside: time, randomness, HTTP, links, circuits. Tests put theirs in its place."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from torpydo.client.circuits import Circuit
from torpydo.net import Fetched, LinkProtocol, connect_link, fetch


@attrs.frozen
class World:
    """Collaborators of a :class:`torpydo.client.Client`."""

    rng: Callable[[int], bytes] = secrets.token_bytes
    """Bytes of randomness."""
    randbelow: Callable[[int], int] = secrets.randbelow
    """A uniform integer below its argument."""
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    fetch: Callable[..., Deferred[Fetched]] = fetch
    """Called like :func:`torpydo.net.fetch`."""
    connect: Callable[..., Deferred[LinkProtocol]] = connect_link
    """Called like :func:`torpydo.net.connect_link`."""
    build: Callable[..., Deferred[Any]] = Circuit.build
    """Called like :meth:`torpydo.client.Circuit.build`."""
