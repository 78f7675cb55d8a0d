"""What exists between start and stop of a node, and what happens to it as time goes by. Called by service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import KEY_SIZE, NodeId, PoolId, Secret, SigningKey
from torpydo.directory import Listing, NetDir, PoolURL, Services
from torpydo.errors import StateError
from torpydo.net import Fetched, FileBudget, LinkProtocol, ListingRefresh, StateDirectory
from torpydo.node.carrier import Carrier, OwnCarrier
from torpydo.node.config import Advertised, NodeConfig
from torpydo.node.description import Description
from torpydo.node.draw import make_randbelow
from torpydo.node.heartbeat import Heartbeats
from torpydo.node.onionkeys import OnionKeys
from torpydo.node.report import NodeReport, PoolStanding
from torpydo.node.resolver import Resolver
from torpydo.node.stamping import Stamping, StampSearch
from torpydo.node.workers import Launch, Supervisor
from torpydo.tpdp import Address, EndReason

__all__ = ["LocalPart", "Parts"]

KEY_FILE: Final = "node.key"
LOOK_AGAIN: Final = 600.0
"""Seconds between two looks at what changes by itself: the onion key, the advertised name, the descriptor's age."""
RESOLVE_RETRY: Final = 30.0
"""Seconds until an advertised name that did not resolve is asked for again."""


class LocalPart(Protocol):
    """What takes part in the DHT for this node."""

    def start(self, node_id: bytes, stamp: bytes) -> None:
        """Begin, as the node with that id and that stamp."""

    def restamped(self, stamp: bytes) -> None:
        """The node has another stamp, and with it another place."""

    def network_changed(self, netdir: NetDir) -> None:
        """The listings say something new."""

    def answer(self, question: bytes, source: bytes) -> bytes:
        """The answer to a question; raises :class:`Malformed` if it is none."""

    def stop(self) -> None:
        """End."""


def _services(config: NodeConfig, local: LocalPart | None) -> Services:
    """What the node offers. The tables of introductions and of the DHT are those of one process."""
    if config.workers > 1:
        return Services.NONE
    return Services.ONION if local is None else Services.ONION | Services.DHT


@attrs.define(eq=False)
class Parts:
    """A node that runs. Made by :meth:`open`."""

    node_id: NodeId
    carrier: Carrier
    _reactor: Any
    _config: NodeConfig
    _state: StateDirectory | None
    _wall_clock: Callable[[], float]
    _keys: OnionKeys
    _resolver: Resolver
    _description: Description
    _heartbeats: Heartbeats
    _refresh: ListingRefresh
    _stamping: Stamping
    _local: LocalPart | None = None
    _looker: LoopingCall = attrs.field(init=False)
    _here: Address | None = None
    _address: Address | None = None
    _resolving: Deferred[None] | None = None
    _retry: IDelayedCall | None = None
    _unresolved: bool = False
    _disk_fails: bool = False

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._looker = LoopingCall(self._look)
        self._looker.clock = self._reactor

    @classmethod
    def open(
        cls,
        reactor: Any,
        config: NodeConfig,
        state: StateDirectory | None,
        *,
        wall_clock: Callable[[], float],
        rng: Callable[[int], bytes],
        fetch: Callable[..., Deferred[Fetched]],
        connect: Callable[..., Deferred[LinkProtocol]],
        search: StampSearch,
        launch: Launch,
        files: FileBudget | None,
        local: LocalPart | None = None,
    ) -> Parts:
        """Read the keys and wire everything.

        :param search: does the work for a stamp
        :param files: the file descriptors of this process; without it nobody counts them
        :param local: what takes part in the DHT; in a node with workers nothing does
        :raises StateError: if a key file cannot be used
        """
        key = config.identity
        if key is None:
            key = SigningKey(Secret(rng(KEY_SIZE))) if state is None else state.signing_key(KEY_FILE, rng)
        keys = OnionKeys.open(state, rng, wall_clock())
        randbelow = make_randbelow(rng)
        resolver = Resolver(reactor, randbelow=randbelow, limits=config.limits)
        description = Description(
            key,
            wall_clock,
            config.exit_policy,
            config.family,
            config.nickname,
            config.bandwidth,
            _services(config, local),
        )
        heartbeats = Heartbeats(
            reactor,
            config.pools,
            key,
            document=lambda: description.document,
            pool_id=lambda url: parts.pool_id(url),
            wall_clock=wall_clock,
            randbelow=randbelow,
            fetch=fetch,
        )
        refresh = ListingRefresh(
            reactor,
            config.pools,
            state=state,
            wall_clock=wall_clock,
            randbelow=randbelow,
            on_change=lambda netdir: parts._network_changed(netdir),
            fetch=fetch,
        )
        stamping = Stamping.open(
            reactor, key.node_id, state, rng=rng, search=search, found=lambda: parts._restamped()
        )
        carrier: Carrier
        if config.workers == 1:
            carrier = OwnCarrier.open(
                reactor,
                key,
                exit_policy=config.exit_policy,
                allow_single_hop=config.allow_single_hop,
                aegis=config.aegis,
                onion_keys=lambda: keys.accepted(wall_clock()),
                resolver=resolver,
                rng=rng,
                wall_clock=wall_clock,
                connect=connect,
                limits=config.limits,
                files=files,
                answer=None if local is None else local.answer,
            )
        else:
            local = None
            carrier = Supervisor(
                reactor,
                config,
                key,
                onion_keys=lambda: keys.accepted(wall_clock()),
                listings=lambda: parts.listings(),
                wall_clock=wall_clock,
                launch=launch,
                files=files,
            )
        parts = cls(
            key.node_id,
            carrier,
            reactor,
            config,
            state,
            wall_clock,
            keys,
            resolver,
            description,
            heartbeats,
            refresh,
            stamping,
            local,
        )
        return parts

    # -- Start and stop

    def start(self) -> None:
        """Begin with all that needs no address."""
        if self._local is not None:
            self._local.start(self.node_id.raw, self._stamping.stamp)
        self.carrier.start()
        self._heartbeats.start()
        self._look_forever()
        # It says itself what is wrong with a pool, and goes on trying.
        self._refresh.start().addErrback(lambda failure: failure.trap(CancelledError))

    def listening(self, here: Address | None) -> None:
        """The node listens on *here*: find out what to advertise."""
        self._here = here
        self._set_own()
        advertise = self._config.advertise
        if advertise is None:
            assert here is not None
            advertise = Advertised(here.host, here.port)
        if advertise.address is not None:
            self._found(advertise.address)
        else:
            self._resolve(advertise)

    def stop(self) -> Deferred[None]:
        """End everything; the state is free when the result fires."""
        if self._looker.running:
            self._looker.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._resolving is not None:
            self._resolving.cancel()
        # The protocol has no word for leaving: pools drop a node that they do not hear.
        self._heartbeats.stop()
        self._refresh.stop()
        self._stamping.stop()
        if self._local is not None:
            self._local.stop()
        drained: Deferred[None] = succeed(None)
        if self._config.drain:
            drained = self.carrier.drain(self._config.drain)
            drained.addErrback(lambda failure: self.log.failure("circuits are not waited for", failure))
        return drained.addCallback(lambda ignored: self.carrier.stop()).addCallback(self._close)

    def _close(self, ignored: object) -> None:
        self._resolver.close()
        if self._state is not None:
            self._state.close()

    # -- The network

    def _network_changed(self, netdir: NetDir) -> None:
        self.carrier.network_changed(netdir)
        if self._local is not None:
            self._local.network_changed(netdir)
        self._stamping.ask(netdir.stamp_bits)

    def _restamped(self) -> None:
        self._describe()
        if self._local is not None:
            self._local.restamped(self._stamping.stamp)

    def pool_id(self, url: PoolURL) -> PoolId | None:
        """The key that a pool without one in its URL showed first."""
        listing = self._refresh.listing(url)
        return None if listing is None else listing.pool_id

    def listings(self) -> dict[PoolURL, Listing]:
        """The listing of each pool that has one."""
        found = {url: self._refresh.listing(url) for url in self._config.pools}
        return {url: listing for url, listing in found.items() if listing is not None}

    # -- What the operator asks

    def report(self) -> NodeReport:
        """Who and where the node is, and what its pools make of it."""
        now, netdir, descriptor = self._wall_clock(), self._refresh.netdir, self._description.descriptor
        standings = zip(dict.fromkeys(self._config.pools), self._heartbeats.standings(), strict=True)
        pools = tuple(self._with_age(standing, url, now) for url, standing in standings)
        return NodeReport(
            node_id=str(self.node_id),
            nickname=self._config.nickname,
            address=None if self._address is None else str(self._address),
            exit_policy=str(self._config.exit_policy),
            onion_key_age=now - self._keys.made_at,
            descriptor_age=None if descriptor is None else now - descriptor.published,
            listed_by=[pool.lists_this_node for pool in pools].count(True),
            pools=pools,
            nodes=0 if netdir is None else len(netdir.nodes),
            listing_digest=None if netdir is None else netdir.digest,
            test_network=netdir is not None and netdir.test_network,
            stamp=self._stamping.standing(),
        )

    def _with_age(self, standing: PoolStanding, url: PoolURL, now: float) -> PoolStanding:
        listing = self._refresh.listing(url)
        return attrs.evolve(standing, listing_age=None if listing is None else now - listing.sequence / 1000)

    # -- Where the node is

    def _resolve(self, advertise: Advertised) -> None:
        self._retry = None
        resolving = self._resolver.resolve(advertise.host)
        self._resolving = resolving.addCallback(self._resolved, advertise)
        self._resolving.addErrback(lambda failure: failure.trap(CancelledError))

    def _resolved(self, found: tuple[bytes, ...] | EndReason, advertise: Advertised) -> None:
        self._resolving = None
        if isinstance(found, EndReason):
            if not self._unresolved:
                self._unresolved = True
                remedy = "the last address stays" if self._address else "no pool can list this node until it does"
                self.log.warn("{name} does not resolve; {remedy}", name=advertise.host, remedy=remedy)
            self._retry = self._reactor.callLater(RESOLVE_RETRY, self._resolve, advertise)
            return
        self._unresolved = False
        # IPv4 first: every client has it.
        address = min((Address(ip, advertise.port) for ip in found), key=lambda one: len(one.ip))
        if self._address is None or self._address.ip not in found:
            self._found(address)

    def _found(self, address: Address) -> None:
        if address != self._address:
            self.log.info("the node is advertised as {address}", address=str(address))
        self._address = address
        self._set_own()
        self._describe()

    def _set_own(self) -> None:
        # What was advertised before is somebody else's by now.
        own = [one for one in (self._here, self._address) if one is not None]
        self.carrier.set_own(list(dict.fromkeys(own)))

    # -- What changes by itself

    def _look_forever(self) -> None:
        self._looker.start(LOOK_AGAIN, now=False).addErrback(self._broke)

    def _broke(self, failure: Failure) -> None:
        # A loop ends with the first error; a node whose keys never change again would be worse than a line.
        self.log.failure("the node's upkeep failed and begins again", failure)
        self._look_forever()

    def _look(self) -> None:
        try:
            if self._keys.rotate(self._wall_clock()):
                self.log.info("the onion key is a new one")
            self._disk_fails = False
        except StateError as error:
            if not self._disk_fails:
                self.log.warn("the onion key stays: {error}", error=str(error))
            self._disk_fails = True
        advertise = self._config.advertise
        if advertise is not None and advertise.address is None and self._retry is None and self._resolving is None:
            self._resolve(advertise)
        # The one before the current may have become too old.
        self.carrier.keys_changed()
        self._describe()

    def _describe(self) -> None:
        if self._address is None:
            return
        accepted = self._keys.accepted(self._wall_clock())
        if self._description.update(self._address, [key.public for key in accepted], self._stamping.stamp):
            self._heartbeats.changed()
