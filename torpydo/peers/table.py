"""The table of peers: who is there, who was, and what is told to others (docs/protocol-peers, Table).

Only records whose signature holds come in, so only those go out. What was brought by one source takes no more than its
share until this peer has talked with those that it names: then they are nobody's but their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from torpydo.crypto import Person, blake
from torpydo.errors import BadSignature
from torpydo.onion import OnionName
from torpydo.peers.entries import Change, Peer, State, Verdict, Verified
from torpydo.peers.presence import Presence
from torpydo.peers.sources import STRANGERS, Sources
from torpydo.wire import Malformed

__all__ = ["DIGEST_ENTRY", "MAX_DIGEST", "SALT", "Table"]

ONLINE: Final = 1000
OFFLINE: Final = 1000
"""Entries of each kind."""
PER_SOURCE: Final = 100
"""Entries that one peer has brought and that were not talked with yet ..."""
FROM_STRANGERS: Final = 300
"""... and those that have come by themselves."""
AHEAD: Final = 600
"""Seconds that a record may be of the future: clocks differ."""
LEFT: Final = 60
"""Seconds that a record must hold for to be handed on."""
FAILURES: Final = 2
"""Times in a row that a peer may fail to answer."""
OFFLINE_LIFE: Final = 86_400.0
"""Seconds for which one is remembered that is not there."""
SALT: Final = 16
HASH: Final = 4
STAMP: Final = 4
DIGEST_ENTRY: Final = HASH + STAMP
MAX_DIGEST: Final = ONLINE + OFFLINE + 1
"""Entries of a digest."""


@attrs.define(eq=False)
class _Entry:
    name: OnionName
    presence: Presence
    source: bytes
    verified: Verified = Verified.BY_SIGNATURE
    state: State = State.ONLINE
    failures: int = 0
    offline_at: float = 0.0

    @property
    def peer(self) -> Peer:
        return Peer.of(self.name, self.presence.claim, self.state, self.verified)


class Table:
    """What one peer knows of others.

    :param topic: which application's peers these are
    :param own: the key of this peer's own name, if it has one
    :param difficulty: bits of work that a record must have
    :param clock: seconds that never go back
    :param wall_clock: seconds since 1970
    :param randbelow: a uniform integer below its argument
    :param check: sees that a record is signed; for simulations, where one has done it for all
    :ivar own_record: what others are told of this peer
    :ivar checks: signatures that were checked
    """

    def __init__(
        self,
        topic: bytes,
        own: bytes | None,
        difficulty: int,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        randbelow: Callable[[int], int],
        check: Callable[[Presence], OnionName] = Presence.check,
        online: int = ONLINE,
        offline: int = OFFLINE,
    ) -> None:
        self.topic = topic
        self.own = own
        self.sources = Sources(clock)
        self.own_record: Presence | None = None
        self.checks = 0
        self._difficulty = difficulty
        self._clock = clock
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._check = check
        self._most_online = online
        self._most_offline = offline
        self._online: dict[bytes, _Entry] = {}
        # The one that is offline for longest comes first.
        self._offline: dict[bytes, _Entry] = {}
        # Of each source the entries that were not talked with: a flood must not cost a look at all of them.
        self._brought: dict[bytes, dict[bytes, None]] = {}
        self._changes: list[Change] = []

    def __len__(self) -> int:
        return len(self._online) + len(self._offline)

    def __iter__(self) -> Iterator[Peer]:
        for entries in (self._online, self._offline):
            yield from [entry.peer for entry in entries.values()]

    def get(self, key: bytes) -> Peer | None:
        """What is known of the name that has *key*."""
        entry = self._find(key)
        return None if entry is None else entry.peer

    def take_changes(self) -> list[Change]:
        """What has changed since the last call; to be called after everything that may change something."""
        changes, self._changes = self._changes, []
        return changes

    # -- What is brought

    def offer(self, data: bytes, source: bytes) -> Verdict:
        """Take a record, if it may be taken. The cheapest look comes first, the signature last.

        :param source: the key of the name that it was fetched from, or :data:`STRANGERS`
        """
        if self.sources.is_ignored(source):
            return Verdict.IGNORED
        verdict = self._judge(data, source)
        if verdict.is_bad:
            self.sources.blame(source)
        return verdict

    def _judge(self, data: bytes, source: bytes) -> Verdict:
        try:
            presence = Presence.decode(data)
        except Malformed:
            return Verdict.MALFORMED
        claim, wall = presence.claim, self._wall_clock()
        if claim.topic != self.topic:
            return Verdict.FOREIGN
        if claim.key == self.own:
            return Verdict.OWN
        if claim.expires <= wall or claim.timestamp > wall + AHEAD:
            return Verdict.UNTIMELY
        entry = self._find(claim.key)
        if entry is not None and claim.timestamp <= entry.presence.claim.timestamp:
            return Verdict.KNOWN if presence == entry.presence else Verdict.OLDER
        is_new = claim.key not in self._online
        if is_new and not self._has_room(source):
            return Verdict.FULL
        if not presence.has_work(self._difficulty):
            return Verdict.NO_WORK
        if not self.sources.may_check(source):
            return Verdict.BUSY
        self.checks += 1
        try:
            name = self._check(presence)
        except BadSignature:
            return Verdict.FORGED
        entry = entry or _Entry(name, presence, source, state=State.GONE)
        if is_new:
            self._make_room(source)
            entry.source = source
        self._enter(entry, presence)
        return Verdict.STORED

    def _share(self, source: bytes) -> int:
        return len(self._brought.get(source, ()))

    def _has_room(self, source: bytes) -> bool:
        # Strangers displace each other, at random: or those who came first would shut the door behind them.
        if source != STRANGERS and self._share(source) >= PER_SOURCE:
            return False
        return len(self._online) < self._most_online or self._most_brought(source) is not None

    def _most_brought(self, source: bytes) -> bytes | None:
        """Whose entry gives way to one of *source* when the table is full: whoever has brought more than it."""
        most = max(self._brought, key=self._share, default=None)
        if most is None:
            return None
        if source == STRANGERS and self._share(STRANGERS) == self._share(most):
            return STRANGERS
        return most if self._share(most) > self._share(source) + 1 else None

    def _make_room(self, source: bytes) -> None:
        if source == STRANGERS and self._share(STRANGERS) >= FROM_STRANGERS:
            self._displace(STRANGERS)
        elif len(self._online) >= self._most_online:
            most = self._most_brought(source)
            assert most is not None
            self._displace(most)

    def _displace(self, source: bytes) -> None:
        keys = list(self._brought[source])
        self._leave(self._online[keys[self._randbelow(len(keys))]])

    def _enter(self, entry: _Entry, presence: Presence) -> None:
        """*entry* is online, with a record that is new."""
        before, told = entry.state, entry.peer
        entry.presence = presence
        entry.failures = 0
        key = presence.claim.key
        self._offline.pop(key, None)
        self._online[key] = entry
        entry.state = State.ONLINE
        if entry.verified is Verified.BY_SIGNATURE:
            self._brought.setdefault(entry.source, {})[key] = None
        if attrs.evolve(told, expires=entry.peer.expires) != entry.peer:
            self._changes.append(Change(entry.peer, before))

    # -- Who is there

    def talked(self, key: bytes) -> None:
        """This peer has connected to the name of *key*, and was handed its record there."""
        entry = self._find(key)
        if entry is None:
            return
        self._forget_source(entry)
        if entry.verified is Verified.BY_SIGNATURE:
            entry.verified = Verified.DIRECTLY
            self._changes.append(Change(entry.peer, entry.state))
        entry.failures = 0
        if entry.state is State.OFFLINE and entry.presence.claim.expires > self._wall_clock():
            if len(self._online) < self._most_online:
                self._enter(entry, entry.presence)

    def failed(self, key: bytes) -> None:
        """The name of *key* cannot be reached now."""
        entry = self._online.get(key)
        if entry is None:
            return
        entry.failures += 1
        if entry.failures >= FAILURES:
            self._put_offline(entry)

    def expire(self) -> None:
        """Look at the time; to be called now and then."""
        wall, now = self._wall_clock(), self._clock()
        for entry in [one for one in self._online.values() if one.presence.claim.expires <= wall]:
            self._put_offline(entry)
        for entry in [one for one in self._offline.values() if now - one.offline_at >= OFFLINE_LIFE]:
            self._leave(entry)

    def _put_offline(self, entry: _Entry) -> None:
        key = entry.presence.claim.key
        del self._online[key]
        self._forget_source(entry)
        entry.state = State.OFFLINE
        entry.offline_at = self._clock()
        self._offline[key] = entry
        self._changes.append(Change(entry.peer, State.ONLINE))
        if len(self._offline) > self._most_offline:
            # Those who were really there once are worth another try; the others may never have been.
            entries = self._offline.values()
            self._leave(next((one for one in entries if one.verified is Verified.BY_SIGNATURE), next(iter(entries))))

    def _leave(self, entry: _Entry) -> None:
        key, before = entry.presence.claim.key, entry.state
        self._online.pop(key, None)
        self._offline.pop(key, None)
        self._forget_source(entry)
        entry.state = State.GONE
        self._changes.append(Change(entry.peer, before))

    def _forget_source(self, entry: _Entry) -> None:
        brought = self._brought.get(entry.source)
        if brought is not None:
            brought.pop(entry.presence.claim.key, None)
            if not brought:
                del self._brought[entry.source]

    def _find(self, key: bytes) -> _Entry | None:
        return self._online.get(key) or self._offline.get(key)

    # -- What is handed on

    def digest(self, salt: bytes) -> bytes:
        """What this peer has, for whoever is asked: for each name a hash of 4 bytes and the end of its timestamp.

        :param salt: 16 random bytes
        """
        entries = [entry.presence for one in (self._online, self._offline) for entry in one.values()]
        if self.own_record is not None:
            entries.append(self.own_record)
        wall = self._wall_clock()
        # What has expired nobody hands on.
        return b"".join([_short(salt, one) for one in entries if one.claim.expires > wall][:MAX_DIGEST])

    def sample(self, count: int, salt: bytes, digest: bytes) -> list[bytes]:
        """Records for a peer that has what *digest* says: some of the others, at random.

        :param count: how many at the most
        """
        entries = [digest[place : place + DIGEST_ENTRY] for place in range(0, len(digest), DIGEST_ENTRY)]
        known = {entry[:HASH]: entry[HASH:] for entry in entries}
        until = self._wall_clock() + LEFT
        found = []
        for entry in self._online.values():
            if entry.presence.claim.expires > until:
                short = _short(salt, entry.presence)
                theirs = known.get(short[:HASH])
                if theirs is None or _is_later(short[HASH:], theirs):
                    found.append(entry)
        for place in range(min(count, len(found))):
            other = place + self._randbelow(len(found) - place)
            found[place], found[other] = found[other], found[place]
        return [entry.presence.encode() for entry in found[:count]]


def _short(salt: bytes, presence: Presence) -> bytes:
    claim = presence.claim
    return blake(claim.key, Person.KNOWN, key=salt, size=HASH) + claim.timestamp.to_bytes(8, "big")[-STAMP:]


def _is_later(one: bytes, other: bytes) -> bool:
    """Whether a timestamp is later than another one, of which only the ends are known."""
    apart = (int.from_bytes(one, "big") - int.from_bytes(other, "big")) % (1 << 8 * STAMP)
    return 0 < apart < 1 << 8 * STAMP - 1
