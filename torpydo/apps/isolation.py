"""What keeps the streams of one application apart from those of another.

Two streams may share a circuit only when their keys are equal: same listener, same client address, same user and
password. The pair is no login: any pair is accepted, and each one gets circuits of its own.
"""

from __future__ import annotations

from collections.abc import Hashable

import attrs

__all__ = ["NOBODY", "Credentials", "IsolationKey"]


@attrs.frozen
class Credentials:
    """The user and password that an application gave.

    The pair may be a real secret that a person typed, so it is never shown.
    """

    user: bytes = attrs.field(repr=False)
    password: bytes = attrs.field(repr=False)


NOBODY = Credentials(b"", b"")


@attrs.frozen
class IsolationKey:
    """The key under which a client keeps circuits.

    :ivar listener: which listener the application used; anything hashable, one value for each listener
    :ivar address: the application's address without its port; empty for a Unix socket
    :ivar credentials: what it gave as user and password
    :ivar port: the destination's, if destinations on different ports are kept apart, otherwise 0
    """

    listener: Hashable = attrs.field(repr=False)
    address: str = attrs.field(repr=False)
    credentials: Credentials
    port: int = 0
