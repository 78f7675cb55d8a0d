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

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, execute, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.peers.announcements import Announcements
from torpydo.apps.peers.documents import check_url, fetch_document
from torpydo.apps.peers.needs import PeerClient
from torpydo.apps.peers.streams import ExchangeProtocol, PeerFactory
from torpydo.errors import (
    BootstrapError,
    CircuitError,
    ConfigurationError,
    LocalProtocolError,
    PathError,
    StreamError,
    TorpydoError,
)
from torpydo.onion import OnionName, SigningKey
from torpydo.peers import (
    MAX_DIFFICULTY,
    PORT,
    STRANGERS,
    Address,
    Change,
    Claim,
    Document,
    Exchange,
    Peer,
    Presence,
    Role,
    State,
    Table,
    Visits,
)

__all__ = ["PeerTable"]

DIFFICULTY: Final = 16
LIFE: Final = 4 * 3600
"""Seconds for which a record holds; it is made anew after a quarter of them."""
INTERVAL: Final = 300.0
"""Seconds from one round to the next ..."""
MEETING: Final = 0.2
"""... and this part of them while somebody is known who was not met ..."""
FAST: Final = 15.0
FAST_ROUNDS: Final = 8
"""... or so many, the first times."""
AT_ONCE: Final = 2
"""Peers that are dialled in a round, and at one time."""
OPEN: Final = 60.0
"""Seconds for connecting to a peer."""
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
    :param difficulty: bits of work in a record; all have the same. Each more doubles the work
    :param interval: seconds from one round to the next
    :param rng: bytes of randomness
    :param randbelow: a uniform integer below its argument
    :param wall_clock: seconds since 1970
    :param check: sees that a record is signed; for simulations
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
        difficulty: int = DIFFICULTY,
        life: int = LIFE,
        interval: float = INTERVAL,
        rng: Callable[[int], bytes] = secrets.token_bytes,
        randbelow: Callable[[int], int] = secrets.randbelow,
        wall_clock: Callable[[], float] = time.time,
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
        self._interval = interval
        self._rng = rng
        self._randbelow = randbelow
        self._table = Table(
            claim.topic, None if key is None else own, difficulty,
            clock=reactor.seconds, wall_clock=wall_clock, randbelow=randbelow, check=check,
        )  # fmt: skip
        self._visits = Visits(self._table, clock=reactor.seconds, randbelow=randbelow)
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
        self._visiting: dict[OnionName, Deferred[None]] = {}
        self._fetching: set[Deferred[Any]] = set()
        self._timers: dict[object, IDelayedCall] = {}
        self._rounds = 0
        self._running = self._has_news = False
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

    def watch(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Have *callback* called whenever somebody comes, goes, or says something else of itself.

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
        self._soon()

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
        """Begin; goes on by itself until :meth:`stop`."""
        if self._running:
            return
        self._running = True
        self._rounds = 0
        for url in self._urls:
            self._begin_with(url, FIRST_PAUSE)
        if self._own is not None:
            self._announce_again()
        self._later("round", 0.0, self._round)

    def stop(self) -> None:
        """End everything that is open. What is known stays."""
        self._running = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._own is not None:
            self._own.stop()
        for deferred in [*self._visiting.values(), *self._fetching]:
            deferred.cancel()
        self.factory.close()

    def _later(self, what: object, delay: float, call: Callable[[], None]) -> None:
        """Do something after *delay* seconds; what was to be done under the same name is not."""

        def now() -> None:
            del self._timers[what]
            call()

        before = self._timers.pop(what, None)
        if before is not None:
            before.cancel()
        if self._running:
            self._timers[what] = self._reactor.callLater(delay, now)

    def _jittered(self, delay: float) -> float:
        """A third more or less: peers that were started together must not stay so."""
        return delay * (667 + self._randbelow(667)) / 1000

    # -- Its own record

    def _announce_again(self) -> None:
        self.announce().addErrback(lambda failure: failure.trap(CancelledError))
        self._later("announce", self._jittered(self._life / 4), self._announce_again)

    def _announced(self, record: Presence) -> None:
        self._table.own_record = record
        self._has_news = True
        self._soon()

    # -- The first peers

    def _begin_with(self, url: bytes, pause: float) -> None:
        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) or not self._running:
                return
            failure.trap(BootstrapError)
            self.log.warn("no first peers came from a document: {why}", why=failure.getErrorMessage())
            again = min(2 * pause, LAST_PAUSE)
            self._later(url, self._jittered(pause), lambda: self._begin_with(url, again))

        self._fetch(url).addErrback(failed)

    def _fetch(self, url: bytes) -> Deferred[int]:
        def came(document: Document) -> int:
            self._visits.hint(document.names)
            for record in document.records:
                # Whoever hands it out answers for it, as any peer does.
                self._table.offer(record, url)
            self._tell()
            self._soon()
            return len(document.names) + len(document.records)

        def over(result: Any) -> Any:
            self._fetching.discard(fetching)
            return result

        fetching: Deferred[Any] = fetch_document(
            self._reactor, self._client.web_agent(isolation=self._isolation), url, self._port
        )
        self._fetching.add(fetching)
        return fetching.addBoth(over).addCallback(came)

    # -- Rounds

    def _soon(self) -> None:
        """A round at the next occasion; one that is due anyway is not put off."""
        self._later("round", 0.0, self._round)

    def _round(self) -> None:
        self._rounds += 1
        self._expire()
        self._visits.forget()
        news, self._has_news = self._has_news, False
        for address in self._visits.choose(AT_ONCE - len(self._visiting), self._visiting, news=news):
            visit = Deferred.fromCoroutine(self._visit(address))
            if not visit.called:
                self._visiting[address.name] = visit
            visit.addBoth(self._visited, address.name)
        self._later("round", self._jittered(self._pause()), self._round)

    def _pause(self) -> float:
        if self._rounds <= FAST_ROUNDS:
            return FAST
        return self._interval * (MEETING if self._visits.has_strangers else 1)

    async def _visit(self, address: Address) -> None:
        protocol = ExchangeProtocol(
            self._reactor, Exchange(self._table, address.name.key.raw, self._rng), self._tell
        )
        factory = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        try:
            opening = self._client.open_stream(factory, str(address.name), address.port, isolation=self._isolation)
            await opening.addTimeout(OPEN, self._reactor)
            if await protocol.done:
                self._visits.succeeded(address.name)
                return
        except (PathError, CircuitError):
            # That is this side's trouble, and says nothing of the peer.
            self._visits.failed(address.name)
            return
        except (StreamError, TimeoutError) as error:
            self.log.debug("a peer was not reached: {why}", why=str(error))
        except CancelledError:
            protocol.abort()
            raise
        self._visits.failed(address.name)
        self._table.failed(address.name.key.raw)

    def _visited(self, result: Failure | None, name: OnionName) -> None:
        self._visiting.pop(name, None)
        self._tell()
        if isinstance(result, Failure) and not result.check(CancelledError):
            if result.check(TorpydoError):
                self.log.debug("a peer was not visited: {why}", why=result.getErrorMessage())
            else:
                self.log.failure("a visit to a peer failed in an unexpected way", result)

    def _answer(self) -> Exchange | None:
        return Exchange(self._table, STRANGERS, self._rng) if self._running else None

    def _expire(self) -> None:
        self._table.expire()
        self._tell()

    def _tell(self) -> None:
        """Tell the watchers; what one of them does wrong is its own."""
        for change in self._table.take_changes():
            for watcher in list(self._watchers.values()):
                execute(watcher, change).addErrback(self._wrong_watcher)

    def _wrong_watcher(self, failure: Failure) -> None:
        self.log.failure("who watches the peers has failed", failure)
