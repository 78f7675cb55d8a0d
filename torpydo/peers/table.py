"""The table of peers: who is there, who was, and what is told to others (docs/protocol-peers, Table).

Only records whose signature holds come in, and only those of peers that this one has met go out: a flood of names that
nobody runs ends at whoever was brought them. What one source brings takes no more than its share until those that it
names were met: then they are nobody's but their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final

import attrs

from torpydo.errors import BadSignature
from torpydo.onion import OnionName
from torpydo.peers.digest import Digest, encode_digest, number_of
from torpydo.peers.entries import Change, Entry, Peer, State, Verdict, Verified
from torpydo.peers.kept import KeptPeer
from torpydo.peers.presence import Presence
from torpydo.peers.sources import STRANGERS, Sources
from torpydo.wire import Malformed

__all__ = ["AHEAD", "MAX_DIGEST", "Table"]

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
HOUR: Final = 3600
MAX_DIGEST: Final = ONLINE + OFFLINE + 1
"""Entries of a digest."""


class Table:
    """What one peer knows of others.

    :param topic: which application's peers these are
    :param own: the key of this peer's own name, if it has one
    :param difficulty: bits of work that a record must have
    :param clock: seconds that never go back
    :param wall_clock: seconds since 1970
    :param randbelow: a uniform integer below its argument
    :param decode: reads a record, and
    :param check: sees that it is signed; for simulations, where one has done it for all
    :ivar own_record: what others are told of this peer
    :ivar checks: signatures that were checked
    :ivar verdicts: what became of the records that were brought, how often
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
        decode: Callable[[bytes], Presence] = Presence.decode,
        check: Callable[[Presence], OnionName] = Presence.check,
        online: int = ONLINE,
        offline: int = OFFLINE,
    ) -> None:
        self.topic = topic
        self.own = own
        self.sources = Sources(clock)
        self.own_record: Presence | None = None
        self.checks = 0
        self.verdicts: Counter[Verdict] = Counter()
        self._difficulty = difficulty
        self._clock = clock
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._decode = decode
        self._check = check
        self._most_online = online
        self._most_offline = offline
        self._online: dict[bytes, Entry] = {}
        # The one that is offline for longest comes first.
        self._offline: dict[bytes, Entry] = {}
        # Of each source the entries that were not talked with: a flood must not cost a look at all of them.
        self._brought: dict[bytes, dict[bytes, None]] = {}
        self._changes: list[Change] = []

    def __len__(self) -> int:
        return len(self._online) + len(self._offline)

    def __iter__(self) -> Iterator[Peer]:
        return iter([entry.peer for entry in self._entries()])

    def __contains__(self, key: bytes) -> bool:
        return self._find(key) is not None

    def keys(self) -> set[bytes]:
        """Of all names."""
        return self._online.keys() | self._offline.keys()

    def place(self, key: bytes) -> tuple[OnionName, int]:
        """Where one that is in the table is dialled."""
        entry = self._find(key)
        assert entry is not None
        return entry.name, entry.presence.claim.port

    def strange(self, without: Set[bytes]) -> list[bytes]:
        """The keys of those who are there and were not met, but for some."""
        entries = self._online.items()
        return [key for key, one in entries if one.verified is Verified.BY_SIGNATURE and key not in without]

    def met(self, without: Set[bytes]) -> list[bytes]:
        """... of those who are there and were met."""
        entries = self._online.items()
        return [key for key, one in entries if one.verified is Verified.DIRECTLY and key not in without]

    def lost(self, without: Set[bytes]) -> list[bytes]:
        """... of those who are not there."""
        return [key for key in self._offline if key not in without]

    def _entries(self) -> Iterator[Entry]:
        yield from self._online.values()
        yield from self._offline.values()

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
        verdict = Verdict.IGNORED if self.sources.is_ignored(source) else self._judge(data, source)
        if verdict.is_bad:
            self.sources.blame(source)
        self.verdicts[verdict] += 1
        return verdict

    def _judge(self, data: bytes, source: bytes) -> Verdict:
        try:
            presence = self._decode(data)
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
        if entry is not None and claim.timestamp <= entry.timestamp:
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
        entry = entry or Entry(name, presence, source, state=State.GONE)
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

    def _enter(self, entry: Entry, presence: Presence) -> None:
        """*entry* is online, with a record that is new."""
        before, told = entry.state, entry.peer
        entry.renew(presence)
        entry.failures = 0
        key = presence.claim.key
        self._offline.pop(key, None)
        self._online[key] = entry
        entry.state = State.ONLINE
        if not entry.was_met:
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
        entry.was_met = True
        if entry.verified is Verified.BY_SIGNATURE:
            entry.verified = Verified.DIRECTLY
            self._changes.append(Change(entry.peer, entry.state))
        entry.failures = 0
        if entry.state is State.OFFLINE and entry.expires > self._wall_clock():
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

    def expire(self, *, alone: bool = False) -> None:
        """Look at the time; to be called now and then.

        :param alone: nobody at all is reached, so nobody is forgotten for not being there
        """
        wall, now = self._wall_clock(), self._clock()
        for entry in [one for one in self._online.values() if one.expires <= wall]:
            self._put_offline(entry)
        if alone:
            for entry in self._offline.values():
                entry.offline_at = now
        for entry in [one for one in self._offline.values() if now - one.offline_at >= OFFLINE_LIFE]:
            self._leave(entry)

    def _put_offline(self, entry: Entry) -> None:
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
            self._leave(next((one for one in entries if not one.was_met), next(iter(entries))))

    def _leave(self, entry: Entry) -> None:
        key, before = entry.presence.claim.key, entry.state
        self._online.pop(key, None)
        self._offline.pop(key, None)
        self._forget_source(entry)
        entry.state = State.GONE
        self._changes.append(Change(entry.peer, before))

    def _forget_source(self, entry: Entry) -> None:
        brought = self._brought.get(entry.source)
        if brought is not None:
            brought.pop(entry.presence.claim.key, None)
            if not brought:
                del self._brought[entry.source]

    def _find(self, key: bytes) -> Entry | None:
        return self._online.get(key) or self._offline.get(key)

    # -- From one life to the next

    def keep(self) -> tuple[KeptPeer, ...]:
        """Those that this peer has met. Whom others have named they will name again, if he is there."""
        now = self._clock()
        met = [entry for entry in self._entries() if entry.was_met]
        return tuple(
            KeptPeer(one.presence.encode(), int((now - one.offline_at) // HOUR) if one.state is State.OFFLINE else None)
            for one in met
        )

    def restore(self, peers: Iterable[KeptPeer]) -> None:
        """Take back what :meth:`keep` gave in an earlier life, by signature: all are to be met again.

        Whose record has expired meanwhile is offline, and not forgotten: it is a name to dial.
        """
        for one in peers:
            entry = self._restored(one.record)
            if entry is None:
                continue
            if one.absent is None and entry.expires > self._wall_clock() and len(self._online) < self._most_online:
                self._enter(entry, entry.presence)
            elif len(self._offline) < self._most_offline:
                entry.state = State.OFFLINE
                entry.offline_at = self._clock() - (one.absent or 0) * HOUR
                self._offline[entry.presence.claim.key] = entry
                self._changes.append(Change(entry.peer, State.GONE))

    def _restored(self, record: bytes) -> Entry | None:
        try:
            presence = self._decode(record)
            claim = presence.claim
            if claim.topic != self.topic or claim.key == self.own or claim.key in self:
                return None
            if claim.timestamp > self._wall_clock() + AHEAD or not presence.has_work(self._difficulty):
                return None
            self.checks += 1
            name = self._check(presence)
        except (Malformed, BadSignature):
            return None
        return Entry(name, presence, b"", state=State.GONE, was_met=True)

    # -- What is handed on

    def digest(self, salt: bytes) -> bytes:
        """What this peer has, for whoever is asked.

        :param salt: 8 random bytes
        """
        wall = self._wall_clock()
        # What has expired nobody hands on.
        known = [
            (entry.number, entry.timestamp)
            for entries in (self._online, self._offline)
            for entry in entries.values()
            if entry.expires > wall
        ]
        if self.own_record is not None:
            claim = self.own_record.claim
            known.append((number_of(claim.key), claim.timestamp))
        return encode_digest(salt, known[:MAX_DIGEST])

    def sample(self, count: int, salt: bytes, digest: bytes) -> list[bytes]:
        """Records for a peer that has what *digest* says: some of those that this one has met and that one lacks.

        :param count: how many at the most
        """
        until = self._wall_clock() + LEFT
        found = [
            entry.presence
            for entry in Digest(salt, digest).lacking(self._online.values())
            if entry.verified is Verified.DIRECTLY and entry.expires > until
        ]
        for place in range(min(count, len(found))):
            other = place + self._randbelow(len(found) - place)
            found[place], found[other] = found[other], found[place]
        return [presence.encode() for presence in found[:count]]
