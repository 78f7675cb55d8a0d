"""What the core of a proxy tells its adapter to do. Bytes for the application are not here: they wait in the core."""

from __future__ import annotations

import attrs

from torpydo.apps.destinations import Destination
from torpydo.apps.isolation import Credentials

__all__ = [
    "AbortNow",
    "CloseNow",
    "CloseUpstream",
    "DropUpstream",
    "Event",
    "HangUp",
    "OpenTunnel",
    "OpenUpstream",
    "ResolveName",
    "SendUpstream",
]


@attrs.frozen
class OpenTunnel:
    """Open a stream; once it is open the core is done and the two transports are joined."""

    destination: Destination
    credentials: Credentials


@attrs.frozen
class OpenUpstream:
    """Open a stream for one HTTP request; what it brings goes to the core."""

    destination: Destination
    credentials: Credentials


@attrs.frozen
class SendUpstream:
    """Write to the stream that is open."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class CloseUpstream:
    """The exchange is complete: close the stream."""


@attrs.frozen
class DropUpstream:
    """The exchange has failed: tear the stream, or stop opening it."""


@attrs.frozen
class ResolveName:
    """Resolve a name at an exit."""

    destination: Destination
    credentials: Credentials


@attrs.frozen
class HangUp:
    """Nothing more will be sent: end writing, and go on discarding what still comes until :class:`CloseNow`."""


@attrs.frozen
class CloseNow:
    """Close the connection."""


@attrs.frozen
class AbortNow:
    """Tear the connection, so that what was sent does not look complete."""


Event = (
    OpenTunnel | OpenUpstream | SendUpstream | CloseUpstream | DropUpstream | ResolveName | HangUp | CloseNow | AbortNow
)
