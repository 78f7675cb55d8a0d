"""A pool index as a Twisted service: opens the state, listens, collects, and closes everything again.

The parts are wired here and nowhere else. Called by the tap and by :class:`torpydo.pool.PoolIndex`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import KEY_SIZE, MAX_STAMP_BITS, PoolId, Secret, SigningKey, stamp_holds
from torpydo.directory import MAX_NODES, STAMP_BITS, TEST_NETWORK, Parameter, PoolURL
from torpydo.errors import ConfigurationError, ListenError, LocalProtocolError, StateError, TorpydoError
from torpydo.net import FileBudget, Refusals, StateDirectory, in_thread
from torpydo.pool.admission import Admission
from torpydo.pool.limits import DEFAULT_LIMITS, PoolLimits
from torpydo.pool.listener import Listener
from torpydo.pool.probes import Probe
from torpydo.pool.publisher import FRESH_FOR, FRESH_FOR_TESTS, Publisher
from torpydo.pool.refusal import PoolRefusal
from torpydo.pool.site import PoolFactory
from torpydo.pool.stamps import Asking, StampCheck
from torpydo.pool.status import IndexReport, IndexStatus
from torpydo.pool.store import Store
from torpydo.pool.web import PoolResource

__all__ = ["PoolConfig", "PoolService"]

KEY_FILE: Final = "pool.key"
URL_FILE: Final = "pool.url"
DATABASE: Final = "pool.db"

MIN_DELAY: Final = 1.0
MAX_DELAY: Final = 300.0
"""Seconds between heartbeats that a node obeys."""


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"the {attribute.name.replace('_', ' ')} must be a number of seconds above 0")


@attrs.frozen
class PoolConfig:
    """What an operator chooses.

    :ivar endpoint: where to listen
    :ivar listen: the same in words, for messages
    :ivar state_dir: where key, nodes and URL survive; ``None`` keeps them in memory only
    :ivar requested_delay: seconds that nodes are asked to leave between heartbeats
    :ivar deprecation_delay: seconds without heartbeat after which a node is dropped
    :ivar gc_cycle: seconds between two looks for such nodes
    :ivar test_network: whether the rules are lifted that make no sense on one machine
    :ivar stamp_bits: work that the stamps of nodes must show; 0: none (SECURITY K1)
    :ivar host_name: what stands in the URL when the endpoint listens on all addresses
    :ivar limits: what strangers may use of it
    :raises ConfigurationError: if a time makes no sense
    """

    endpoint: IStreamServerEndpoint
    listen: str
    state_dir: str | None
    requested_delay: float = attrs.field(default=15.0, validator=_positive)
    deprecation_delay: float = attrs.field(default=30.0, validator=_positive)
    gc_cycle: float = attrs.field(default=10.0, validator=_positive)
    test_network: bool = False
    stamp_bits: int = 0
    host_name: str = "localhost"
    limits: PoolLimits = DEFAULT_LIMITS

    def __attrs_post_init__(self) -> None:
        if not MIN_DELAY <= self.requested_delay <= MAX_DELAY:
            raise ConfigurationError(f"the requested delay must be {MIN_DELAY:.0f} to {MAX_DELAY:.0f} seconds")
        if self.deprecation_delay <= self.requested_delay:
            raise ConfigurationError("the deprecation delay must be longer than the requested delay")
        if not 0 <= self.stamp_bits <= MAX_STAMP_BITS:
            raise ConfigurationError(f"stamps have 0 to {MAX_STAMP_BITS} bits, not {self.stamp_bits}")
        if self.limits.nodes > MAX_NODES:
            raise ConfigurationError(f"--limit=nodes={self.limits.nodes}: a listing holds {MAX_NODES} nodes at most")

    @property
    def limits_in_force(self) -> PoolLimits:
        """The limits that count: a test network is without those by address."""
        return self.limits.in_test_network() if self.test_network else self.limits


@attrs.define(eq=False)
class _Running:
    """What exists between start and stop."""

    pool_id: PoolId
    state: StateDirectory | None
    store: Store
    admission: Admission
    publisher: Publisher
    collector: LoopingCall

    def close(self) -> None:
        """End it, in the reverse order of the start."""
        if self.collector.running:
            self.collector.stop()
        self.publisher.stop()
        self.admission.stop()
        self.store.close()
        if self.state is not None:
            self.state.close()


class PoolService(Service):
    """A pool index.

    :param reactor: keeps time
    :param config: what the operator chose
    :param probe: opens a link to a node
    :param check: tells whether a stamp holds; by default a thread does
    :param wall_clock: seconds since the epoch
    :param rng: gives that many random bytes
    :param files: the file descriptors of the process; without it nobody counts them
    :ivar refusals: what was refused, by cause
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: PoolConfig,
        *,
        probe: Probe,
        wall_clock: Callable[[], float],
        rng: Callable[[int], bytes],
        check: StampCheck | None = None,
        files: FileBudget | None = None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._probe = probe
        self._check = in_thread(reactor, stamp_holds) if check is None else check
        self._wall_clock = wall_clock
        self._rng = rng
        self._limits = config.limits_in_force
        self.refusals = Refusals(PoolRefusal, reactor.seconds)
        self._factory = PoolFactory(
            reactor, self._limits, self.refusals, (files or FileBudget(reactor.seconds)).grant
        )
        self._listener = Listener(config.endpoint, config.listen, self._factory)
        self._running: _Running | None = None

    # -- What the operator asks

    def status(self) -> IndexStatus | None:
        """Counts; ``None`` while the pool does not run."""
        running = self._running
        if running is None:
            return None
        admission, published = running.admission, running.publisher.published
        sequence = 0 if published is None else published.sequence
        return IndexStatus(
            listed=admission.count_listed(),
            known=len(admission),
            pending=admission.pending,
            probes=admission.probes,
            heartbeats=admission.heartbeats,
            connections=len(self._factory.channels),
            listing_sequence=sequence,
            listing_age=None if published is None else self._wall_clock() - sequence / 1000,
            listing_bytes=0 if published is None else len(published.packed or published.raw),
            database_bytes=running.store.size,
            refused=self.refusals.counts(),
        )

    def report(self) -> IndexReport | None:
        """Who the pool is, and what it says; ``None`` while it does not run."""
        running = self._running
        if running is None:
            return None
        published = running.publisher.published
        digest = None if published is None else published.listing.digest
        return IndexReport(str(running.pool_id), digest, self._config.test_network)

    # -- Start and stop

    def privilegedStartService(self) -> None:
        """Listen, while the process may still use low ports.

        :raises ListenError: if that fails at once, as it does for TCP
        """
        Service.privilegedStartService(self)
        self._listener.start()

    def startService(self) -> None:
        """Open the state, and listen unless the privileged start did.

        :raises TorpydoError: if the state or the address cannot be used; nothing stays open then
        """
        if not self._listener.is_started:
            self._listener.start()
        try:
            running = self._running = self._open()
        except TorpydoError:
            self._listener.stop()
            raise
        Service.startService(self)
        listening = self._listener.when_listening().addCallback(self._publish_url, running)
        # Whoever started the pool learns from when_listening() that it cannot listen.
        listening.addErrback(lambda failure: failure.trap(ListenError, CancelledError))
        listening.addErrback(lambda failure: self.log.failure("the URL of the pool cannot be written", failure))

    def when_listening(self) -> Deferred[PoolURL]:
        """Fires with the pool's URL when the pool can be asked; fails with :class:`ListenError`."""
        running = self._running
        if running is None:
            return fail(LocalProtocolError("the pool is not started"))
        return self._listener.when_listening().addCallback(self._url, running)

    def stopService(self) -> Deferred[None]:
        """End all connections and probes, and close the state."""
        Service.stopService(self)
        stopped = self._listener.stop()
        # First, because whoever waits is answered now, and what is sent behind that must not begin anything new.
        self._factory.shut()
        running, self._running = self._running, None
        if running is not None:
            running.close()
        # Last, because whoever waits for a probe has just been answered.
        self._factory.close()
        return stopped

    # -- The parts

    def _open(self) -> _Running:
        config = self._config
        state = None if config.state_dir is None else StateDirectory.open(config.state_dir)
        store = None
        try:
            if state is None:
                key, store = SigningKey(Secret(self._rng(KEY_SIZE))), Store.open(":memory:")
            else:
                key, store = state.signing_key(KEY_FILE, self._rng), Store.open(state.reserve(DATABASE))
            return self._wire(key, state, store)
        except TorpydoError:
            if store is not None:
                store.close()
            if state is not None:
                state.close()
            raise

    def _wire(self, key: SigningKey, state: StateDirectory | None, store: Store) -> _Running:
        config, clock, wall_clock = self._config, self._reactor.seconds, self._wall_clock
        asking = Asking.begin(config.stamp_bits, state, int(wall_clock()))
        parameters: dict[str, Parameter] = {TEST_NETWORK: config.test_network}
        if asking.bits:
            parameters[STAMP_BITS] = asking.bits
        admission = Admission(
            key.pool_id,
            store,
            self._probe,
            self._check,
            clock=clock,
            wall_clock=wall_clock,
            later=self._reactor.callLater,
            limits=self._limits,
            asking=asking,
            test_network=config.test_network,
            requested_delay=config.requested_delay,
            deprecation_delay=config.deprecation_delay,
            changed=lambda: publisher.changed(),
        )
        publisher = Publisher(
            key,
            store,
            lambda: [node.record for node in admission.listed()],
            clock=clock,
            wall_clock=wall_clock,
            later=self._reactor.callLater,
            parameters=parameters,
            fresh_for=FRESH_FOR_TESTS if config.test_network else FRESH_FOR,
        )
        resource = PoolResource(
            key.pool_id,
            admission,
            publisher,
            limits=self._limits,
            refusals=self.refusals,
            clock=clock,
            wall_clock=wall_clock,
            test_network=config.test_network,
        )

        def collect() -> Deferred[None]:
            resource.prune()
            return admission.collect()

        self._factory.open(resource)
        running = _Running(key.pool_id, state, store, admission, publisher, LoopingCall(collect))
        running.collector.clock = self._reactor
        self._collect_forever(running.collector)
        return running

    def _collect_forever(self, collector: LoopingCall) -> None:
        def broke(failure: Failure) -> None:
            # A loop ends with the first error; a pool that drops nobody any more would be worse than a line.
            self.log.failure("the collector failed and begins again", failure)
            self._collect_forever(collector)

        collector.start(self._config.gc_cycle, now=False).addErrback(broke)

    def _url(self, port: IListeningPort, running: _Running) -> PoolURL:
        address = port.getHost()
        if not isinstance(address, IPv4Address | IPv6Address):
            # A Unix socket: others reach the pool through a web server whose name only the operator knows.
            return PoolURL(self._config.host_name, 80, running.pool_id)
        everywhere = address.host in ("0.0.0.0", "::", "")
        return PoolURL(self._config.host_name if everywhere else address.host, address.port, running.pool_id)

    def _publish_url(self, port: IListeningPort, running: _Running) -> None:
        url = self._url(port, running)
        self.log.info("the pool is at {url}", url=str(url))
        if self._config.test_network:
            self.log.warn("this is a test network: the rules for subnets and addresses do not protect its clients")
        if running.state is not None:
            try:
                running.state.write(URL_FILE, f"{url}\n".encode("ascii"))
            except StateError as error:
                self.log.warn("the URL above is not in the file for it: {error}", error=str(error))
