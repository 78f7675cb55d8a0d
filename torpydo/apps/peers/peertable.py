"""The peers of an application: who is there, how they are found, how they find this one.

Now and then it dials a few of those that it knows, by their onion names, which shows that they are there; it hands them
its own record and asks for those that it lacks. What is believed and whom to dial is decided in ``torpydo.peers``.
::

    start ──> bootstrap (names, documents) ──> round ──> dial a few ──> exchange ──> table ──> watchers
                                                 ^─────── a pause ────────┘
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.peers.announcements import Announcements
from torpydo.apps.peers.documents import check_url, fetch_document
from torpydo.apps.peers.keeping import Keeping
from torpydo.apps.peers.needs import PeerClient
from torpydo.apps.peers.rounds import Rounds, jittered
from torpydo.apps.peers.streams import PeerFactory
from torpydo.apps.peers.timers import Timers
from torpydo.errors import BootstrapError, ConfigurationError, LocalProtocolError
from torpydo.onion import OnionName, SigningKey
from torpydo.peers import (
    AHEAD,
    ALONE,
    MAX_DIFFICULTY,
    PORT,
    STRANGERS,
    Address,
    Change,
    Claim,
    Document,
    Exchange,
    Kept,
    Peer,
    Presence,
    Role,
    State,
    Table,
    Verdict,
    Visits,
)

__all__ = ["PeerTable"]

DIFFICULTY: Final = 16
LIFE: Final = 4 * 3600
"""Seconds for which a record holds; it is made anew after a quarter of them."""
INTERVAL: Final = 300.0
"""Seconds from one round to the next."""
ALONE_ROUNDS: Final = 4
"""Rounds without any success after which this side may be cut off, if they take longer than usual."""
FIRST_PAUSE: Final = 30.0
LAST_PAUSE: Final = 3600.0
"""Seconds until a document that names peers is asked for again: doubled each time."""


class PeerTable:
    """The peers of one application.

    :param client: connects to their services; a :class:`torpydo.Client`
    :param reactor: keeps time
    :param topic: which application's peers these are, 1..32 bytes; all have the same
    :param key: of this peer's onion service; without one it looks on, and others do not hear of it
    :param port: of the service, at which the application serves :attr:`factory`
    :param roles: what others are told
    :param note: what else they are told, at most 128 bytes; everybody can read it
    :param names: ``NAME.torpydo`` or ``NAME.torpydo:PORT`` of peers to begin with
    :param urls: of documents that name peers to begin with
    :param state_dir: a private directory of this table alone, which remembers peers and this one's own record from one
        start to the next; ``None`` remembers nothing
    :param difficulty: bits of work in a record; all have the same. Each more doubles the work
    :param interval: seconds from one round to the next
    :param rng: bytes of randomness
    :param randbelow: a uniform integer below its argument
    :param wall_clock: seconds since 1970
    :param decode: reads a record, and
    :param check: sees that it is signed; both for simulations
    :raises ConfigurationError: for a value that cannot be used
    :raises OnionNameError: for a name that is none
    :ivar factory: a protocol factory that answers other peers, while this one runs
    """

    log = Logger()

    def __init__(
        self,
        client: PeerClient,
        reactor: Any,
        topic: str,
        *,
        key: SigningKey | None = None,
        port: int = PORT,
        roles: Role = Role.PARTICIPANT,
        note: bytes = b"",
        names: Sequence[str] = (),
        urls: Sequence[str] = (),
        state_dir: str | None = None,
        difficulty: int = DIFFICULTY,
        life: int = LIFE,
        interval: float = INTERVAL,
        rng: Callable[[int], bytes] = secrets.token_bytes,
        randbelow: Callable[[int], int] = secrets.randbelow,
        wall_clock: Callable[[], float] = time.time,
        decode: Callable[[bytes], Presence] = Presence.decode,
        check: Callable[[Presence], OnionName] = Presence.check,
    ) -> None:
        if not 0 <= difficulty <= MAX_DIFFICULTY or interval <= 0:
            raise ConfigurationError(f"peers have a difficulty of 0 to {MAX_DIFFICULTY} bits, and a positive interval")
        own = bytes(32) if key is None else key.public
        claim = Claim(own, topic.encode(), roles, 0, life, port, note)
        try:
            claim.check()
        except LocalProtocolError as error:
            raise ConfigurationError(f"peers cannot be told of this one: {error}") from None
        self._client = client
        self._reactor = reactor
        self._port = port
        self._life = life
        self._rng = rng
        self._randbelow = randbelow
        self._wall_clock = wall_clock
        self._table = Table(
            claim.topic, None if key is None else own, difficulty,
            clock=reactor.seconds, wall_clock=wall_clock, randbelow=randbelow, decode=decode,
            check=check,
        )  # fmt: skip
        self._visits = Visits(
            self._table, clock=reactor.seconds, randbelow=randbelow, alone=max(ALONE, ALONE_ROUNDS * interval)
        )
        self._visits.hint(Address.parse(name, port) for name in names)
        self._urls = [check_url(url) for url in urls]
        self._own: Announcements | None = None
        if key is not None:
            self._own = Announcements(
                reactor, key, claim, difficulty, rng=rng, wall_clock=wall_clock, made=self._announced
            )
        # Others must not see that a visit and a stream of the application are of one peer.
        self._isolation = object()
        self._watchers: dict[object, Callable[[Change], object]] = {}
        self._fetching: set[Deferred[Any]] = set()
        self._timers = Timers(reactor)
        self._keeping = Keeping(
            state_dir, self._timers, lambda: Kept(self._table.own_record, self._table.keep())
        )
        self._rounds = Rounds(
            reactor, client, self._table, self._visits, self._timers, isolation=self._isolation, interval=interval,
            rng=rng, randbelow=randbelow, begins=self._look_at_the_time, tell=self._tell,
        )  # fmt: skip
        self.factory = PeerFactory(reactor, self._answer, self._tell)

    # -- What an application asks

    def known(self) -> list[Peer]:
        """Everybody who is known: those who are there, then those who were."""
        self._expire()
        return list(self._table)

    def online(self) -> list[Peer]:
        """Those who are there."""
        return [peer for peer in self.known() if peer.state is State.ONLINE]

    @property
    def own_record(self) -> Presence | None:
        """What others are told of this one; ``None`` until it was made."""
        return self._table.own_record

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """What became of the records that were brought to this one, and how often, since it was made."""
        return dict(self._table.verdicts)

    def watch(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Have *callback* called whenever somebody comes, goes, or says something else of itself.

        :param callback: what it raises, and what a Deferred or coroutine of its fails with, is logged
        :return: to be called when no more is to be heard
        """
        watcher = object()
        self._watchers[watcher] = callback

        def stop() -> None:
            self._watchers.pop(watcher, None)

        return stop

    def announce(self) -> Deferred[Presence]:
        """Make a new record now, and hand it to some peers at once. While it runs this happens by itself.

        :return: fires with the record; cancellable; fails with :class:`LocalProtocolError` without a key
        """
        if self._own is None:
            return fail(LocalProtocolError("who has no onion service cannot be announced; give the table its key"))
        return self._own.make()

    def meet(self, *names: str) -> None:
        """Dial these soon: ``NAME.torpydo`` or ``NAME.torpydo:PORT``.

        :raises OnionNameError: for one that is none
        """
        self._visits.hint([Address.parse(name, self._port) for name in names])
        self._rounds.soon()

    def bootstrap(self, url: str) -> Deferred[int]:
        """Fetch a document that names peers, through the client.

        :return: how many names and records it has; cancellable; fails with :class:`BootstrapError` or
            :class:`ConfigurationError`
        """
        try:
            raw = check_url(url)
        except ConfigurationError:
            return fail(Failure())
        return self._fetch(raw)

    def document(self) -> bytes:
        """A document with some of those who are there, for a web server to hand out."""
        found = self._table.sample(50, bytes(8), b"")
        own = self._table.own_record
        return Document((), (*(() if own is None else (own.encode(),)), *found)).encode()

    # -- Start and stop

    def start(self) -> None:
        """Begin; goes on by itself until :meth:`stop`.

        :raises StateError: if the state directory cannot be trusted, or is in use; nothing has begun then
        """
        if self._timers.running:
            return
        kept = self._keeping.open()
        self._timers.running = True
        self._keeping.begin()
        self._table.restore(kept.peers)
        for url in self._urls:
            self._begin_with(url, FIRST_PAUSE)
        if self._own is not None:
            self._own.take_up(kept.own)
            self._announce_in_time()
        self._rounds.start()

    def stop(self) -> None:
        """End everything that is open. What is known stays, also on disk."""
        self._timers.stop()
        self._keeping.close()
        if self._own is not None:
            self._own.stop()
        self._rounds.stop()
        for fetching in list(self._fetching):
            fetching.cancel()
        self.factory.close()

    # -- Its own record

    def _announce_in_time(self) -> None:
        own, fresh = self._table.own_record, self._life / 4
        age = fresh if own is None else self._wall_clock() - own.claim.timestamp
        if -AHEAD <= age < fresh:
            self._timers.later("announce", fresh - age, self._announce_again)
        else:
            self._announce_again()

    def _announce_again(self) -> None:
        self.announce().addErrback(lambda failure: failure.trap(CancelledError))
        self._timers.later("announce", jittered(self._life / 4, self._randbelow), self._announce_again)

    def _announced(self, record: Presence) -> None:
        self._table.own_record = record
        self._rounds.spread()

    def _look_at_the_time(self) -> None:
        own = self._table.own_record
        # Timers stand still while the computer sleeps, and a record does not; and clocks are set.
        if own is not None and not -AHEAD <= self._wall_clock() - own.claim.timestamp <= self._life / 2:
            self._announce_again()
        self._expire()

    # -- The first peers

    def _begin_with(self, url: bytes, pause: float) -> None:
        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) or not self._timers.running:
                return
            failure.trap(BootstrapError)
            self.log.warn("no first peers came from a document: {why}", why=failure.getErrorMessage())
            again = min(2 * pause, LAST_PAUSE)
            delay = jittered(pause, self._randbelow)
            self._timers.later(url, delay, lambda: self._begin_with(url, again))

        self._fetch(url).addErrback(failed)

    def _fetch(self, url: bytes) -> Deferred[int]:
        def came(document: Document) -> int:
            self._visits.hint(document.names, by_others=True)
            for record in document.records:
                # Whoever hands it out answers for it, as any peer does.
                self._table.offer(record, url)
            self._tell()
            self._rounds.soon()
            return len(document.names) + len(document.records)

        def over(result: Any) -> Any:
            self._fetching.discard(fetching)
            return result

        fetching: Deferred[Any] = fetch_document(
            self._reactor, self._client.web_agent(isolation=self._isolation), url, self._port
        )
        self._fetching.add(fetching)
        return fetching.addBoth(over).addCallback(came)

    # -- Others

    def _answer(self) -> Exchange | None:
        # Who has a name and no record yet would be blamed for that: it is better not to be there.
        is_made = self._own is None or self._table.own_record is not None
        return Exchange(self._table, STRANGERS, self._rng) if self._timers.running and is_made else None

    def _expire(self) -> None:
        self._table.expire(alone=self._visits.is_alone)
        self._tell()

    def _tell(self) -> None:
        """Tell the watchers; what one of them does wrong is its own."""
        for change in self._table.take_changes():
            for watcher in list(self._watchers.values()):
                heard: Deferred[object] = maybeDeferred(watcher, change)
                heard.addErrback(self._wrong_watcher)

    def _wrong_watcher(self, failure: Failure) -> None:
        self.log.failure("who watches the peers has failed", failure)
