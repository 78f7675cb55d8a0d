"""What the table says of a peer, and of a record that was brought."""

from __future__ import annotations

from enum import Enum
from typing import Final

import attrs

from torpydo.onion import OnionName
from torpydo.peers.digest import number_of
from torpydo.peers.presence import Claim, Presence, Role

__all__ = ["BAD", "Change", "Entry", "Peer", "State", "Verdict", "Verified"]


class Verdict(Enum):
    """What became of a record that was brought."""

    STORED = "stored"
    KNOWN = "known"
    """It is in the table already."""
    OLDER = "older"
    """A later one of that name is known, or another one of the same time."""
    OWN = "own"
    """It is of this peer itself."""
    UNTIMELY = "untimely"
    """It has expired, or is of the future: clocks differ, so nobody is blamed."""
    FULL = "full"
    """There is no room for it, or its source has had its share."""
    BUSY = "busy"
    """Too many strangers have come."""
    IGNORED = "ignored"
    """Its source is not listened to."""
    MALFORMED = "malformed"
    FOREIGN = "foreign"
    """It is of another application's peers."""
    NO_WORK = "no work"
    FORGED = "forged"

    @property
    def is_bad(self) -> bool:
        """Whether no honest peer would have brought it."""
        return self in BAD


BAD: Final = frozenset({Verdict.MALFORMED, Verdict.FOREIGN, Verdict.NO_WORK, Verdict.FORGED})


class State(Enum):
    """Whether a peer is there."""

    ONLINE = "online"
    """Its record holds, and it has not failed to answer."""
    OFFLINE = "offline"
    """Its record has expired, or it did not answer twice in a row."""
    GONE = "gone"
    """It is in the table no longer."""


class Verified(Enum):
    """How it is known that a record is of the one that it names. There is no third way into the table."""

    DIRECTLY = "directly"
    """This peer has connected to that name, and was handed it there."""
    BY_SIGNATURE = "by signature"


@attrs.frozen
class Peer:
    """A peer, as it is known at one moment.

    :ivar name: ``NAME.torpydo``, to connect to
    :ivar port: of its table, not of the application
    :ivar expires: seconds since 1970, until when its record holds
    """

    name: str = attrs.field(repr=lambda name: name[:8])
    roles: Role
    port: int
    note: bytes
    state: State
    verified: Verified
    expires: int

    @classmethod
    def of(cls, name: OnionName, claim: Claim, state: State, verified: Verified) -> Peer:
        """What *claim* says, with what is known of it."""
        return cls(str(name), claim.roles, claim.port, claim.note, state, verified, claim.expires)


@attrs.frozen
class Change:
    """Something that the application may want to know.

    :ivar before: its state until now; ``GONE`` if it was not known
    """

    peer: Peer
    before: State


@attrs.define(eq=False)
class Entry:
    """What the table has of a peer.

    :ivar source: who has brought it
    :ivar number: of its name
    """

    name: OnionName
    presence: Presence
    source: bytes
    verified: Verified = Verified.BY_SIGNATURE
    state: State = State.ONLINE
    was_met: bool = False
    """Now or in an earlier life; who was met counts for nobody."""
    failures: int = 0
    offline_at: float = 0.0
    # These are looked at in each exchange, of all entries.
    number: int = attrs.field(init=False)
    timestamp: int = attrs.field(init=False)
    expires: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.number = number_of(self.presence.claim.key)
        self.renew(self.presence)

    def renew(self, presence: Presence) -> None:
        """Take its new record."""
        self.presence = presence
        self.timestamp = presence.claim.timestamp
        self.expires = presence.claim.expires

    @property
    def peer(self) -> Peer:
        return Peer.of(self.name, self.presence.claim, self.state, self.verified)
