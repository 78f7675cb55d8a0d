"""The client: one object with two faces.

``Client.create`` gives the whole of it: circuits built ahead, streams by endpoint, an HTTP agent. ``Client()`` gives
the older calls, step by step (``classic``). Nothing is decided here; ``routing`` does the work.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any, Self

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.web.iweb import IAgent

from torpydo.client.agent import CircuitAgent, WebConnections
from torpydo.client.bootstrap import ProgressFunction
from torpydo.client.circuits import Circuit
from torpydo.client.classic import ClassicCalls
from torpydo.client.conversations import Conversation
from torpydo.client.endpoints import CircuitEndpoint
from torpydo.client.failures import as_connect_error
from torpydo.client.firstdata import FirstData
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.paths import Want
from torpydo.client.routing import Routing, Settings
from torpydo.client.status import ClientStatus
from torpydo.client.vanguards import LEAST_HOPS
from torpydo.client.world import World
from torpydo.crypto import KEY_SIZE, DHPublicKey, NodeId, Secret, SigningKey
from torpydo.directory import PoolURL, Services
from torpydo.errors import ConfigurationError, LocalProtocolError, TorpydoError
from torpydo.net import Participants, StateDirectory, open_key_file
from torpydo.onion import is_onion

MAX_HOPS = 8


class Client(ClassicCalls):
    """A client of one torpydo network.

    Made by :meth:`create`, or by :meth:`start` if it is to be used before it is ready. Made without arguments, it
    offers the step-by-step calls of :class:`torpydo.client.classic.ClassicCalls` only.
    """

    _routing: Routing | None = None
    _web: WebConnections | None = None
    _onions: Any = None

    @classmethod
    def create(
        cls,
        reactor: Any,
        pools: Sequence[str],
        state_dir: str | None,
        *,
        pool_threshold: int | None = None,
        hops: int = 3,
        limits: ClientLimits = DEFAULT_LIMITS,
        progress: ProgressFunction | None = None,
        world: World | None = None,
    ) -> Deferred[Client]:
        """Make a client that is ready.

        :param reactor: connects and keeps time
        :param pools: pool URLs with their keys, as in a pool's ``STATE/pool.url``
        :param state_dir: a private directory that remembers listings and the guard; ``None`` remembers nothing
        :param pool_threshold: how many pools must list a node; by default the majority
        :param hops: nodes in a circuit; those for onion services have at least three
        :param limits: what it bounds
        :param progress: called with percent, tag and summary
        :param world: time, randomness and connections; for tests
        :return: fires when circuits can be built; cancellable; fails with :class:`ConfigurationError`,
            :class:`StateError`, :class:`PoolUnreachable` (no pool and nothing on disk), :class:`ListingError` (names
            the skew if a clock is wrong), :class:`PathError` or :class:`CircuitBuildError`
        """
        try:
            client = cls.start(
                reactor,
                pools,
                state_dir,
                pool_threshold=pool_threshold,
                hops=hops,
                limits=limits,
                progress=progress,
                world=world,
            )
        except TorpydoError:
            return fail(Failure())

        def failed(failure: Failure) -> Deferred[Client]:
            def give_reason(ignored: object) -> Failure:
                return failure

            closed: Deferred[Any] = client.close()
            return closed.addBoth(give_reason)

        return client.when_ready().addErrback(failed)

    @classmethod
    def start(
        cls,
        reactor: Any,
        pools: Sequence[str],
        state_dir: str | None,
        *,
        pool_threshold: int | None = None,
        hops: int = 3,
        limits: ClientLimits = DEFAULT_LIMITS,
        progress: ProgressFunction | None = None,
        world: World | None = None,
    ) -> Self:
        """Make a client that gets ready by itself and keeps trying, whatever is down.

        Streams that are opened before wait up to a minute. Parameters as in :meth:`create`.

        :raises ConfigurationError: for a value that cannot be used
        :raises StateError: for a state directory that cannot be trusted
        """
        if not 1 <= hops <= MAX_HOPS:
            raise ConfigurationError(f"a circuit has 1 to {MAX_HOPS} hops, not {hops}")
        settings = Settings(tuple(PoolURL.parse(text) for text in pools), pool_threshold, hops, limits)
        client = cls(reactor, world=world)
        state = None if state_dir is None else StateDirectory.open(state_dir)
        try:
            client._routing = Routing(reactor, settings, state, client._world, progress)
        except TorpydoError:
            if state is not None:
                state.close()
            raise
        client._web = WebConnections(
            reactor, lambda host, port, isolation: client.endpoint(host, port, isolation=isolation)
        )
        client._routing.start()
        return client

    @property
    def _run(self) -> Routing:
        if self._routing is None:
            raise _only_steps()
        return self._routing

    @property
    def _connections(self) -> WebConnections:
        if self._web is None:
            raise _only_steps()
        return self._web

    def when_ready(self) -> Deferred[Client]:
        """Fires with this client when circuits can be built; fails with the first reason why not (it keeps trying)."""
        return self._run.when_ready().addCallback(lambda _: self)

    def endpoint(
        self,
        host: str,
        port: int,
        *,
        isolation: Hashable = None,
        hops: int | None = None,
        first_data: bytes | FirstData = b"",
    ) -> IStreamClientEndpoint:
        """A destination as an endpoint.

        :param host: a name, which only the exit resolves, or an IP literal
        :param isolation: streams with different keys never share a circuit
        :param hops: if not those of the client
        :param first_data: at most 64 KiB that each connection begins with. They go out with the question for the
            stream, before the exit has connected, so an answer comes a round trip earlier. They are sent again on
            another circuit only if they cannot have arrived; if that is not sure, connecting fails
        """
        run = self._run

        def open_stream(factory: IProtocolFactory, host: str, port: int) -> Deferred[IProtocol]:
            if is_onion(host):
                return self._open_onion(factory, host, port, isolation, first_data)
            return run.open_stream(factory, host, port, hops, isolation, first_data)

        return CircuitEndpoint(open_stream, host, port)

    def open_stream(
        self,
        factory: IProtocolFactory,
        host: str,
        port: int,
        *,
        isolation: Hashable = None,
        hops: int | None = None,
        first_data: bytes | FirstData = b"",
    ) -> Deferred[IProtocol]:
        """What an endpoint does, without its manners: for those who write their own endpoint."""
        if is_onion(host):
            return self._open_onion(factory, host, port, isolation, first_data)
        return self._run.open_stream(factory, host, port, hops, isolation, first_data)

    def _open_onion(
        self,
        factory: IProtocolFactory,
        host: str,
        port: int,
        isolation: Hashable,
        first_data: bytes | FirstData,
    ) -> Deferred[IProtocol]:
        opened: Deferred[IProtocol] = self.onions.open_stream(factory, host, port, isolation, first_data)
        return opened

    def resolve(self, host: str, *, isolation: Hashable = None) -> Deferred[list[tuple[str, int]]]:
        """Ask an exit for the addresses of a name: pairs of IP address and seconds to live."""
        return self._run.resolve(host, isolation).addErrback(_as_connect_failure)

    def web_agent(self, *, isolation: Hashable = None) -> IAgent:
        """A ``twisted.web`` agent, for treq too; kept-alive connections stay inside *isolation*."""
        return CircuitAgent(self._connections, isolation)

    def build_circuit(
        self, hops: int = 3, path: Sequence[NodeId] | None = None, *, port: int | None = None
    ) -> Deferred[Circuit]:
        """A circuit of your own, which nothing else uses.

        :param path: the nodes, the guard first; by default chosen by the rules
        :param port: what the last node must be an exit for; by default for anything
        :return: fails with :class:`PathError` or :class:`CircuitBuildError`; the next goes round the node that failed
        """
        return self._run.build_own(hops, path, port)

    def conversation(
        self, node_id: NodeId | None = None, *, more_hops: int = 0, avoid: Collection[NodeId] = ()
    ) -> Deferred[Conversation]:
        """A circuit of your own that is spoken with in messages: what onion services are made of.

        It has as many nodes as any other circuit of this client, and no fewer than three. Its second node is one of the
        few that stay for days (SECURITY G4).

        :param node_id: the node it ends at; by default any that services and their clients may meet at, the guard and
            those few only if there is no other
        :param more_hops: nodes in it beyond those; eight in all at the most
        :param avoid: nodes that are in no place of it
        :return: fails with :class:`PathError` or :class:`CircuitBuildError`
        """
        services = Services.ONION if node_id is None else Services.NONE
        hops = min(self._long_enough + more_hops, MAX_HOPS)
        want = Want("", None, hops, refused=frozenset(avoid), anywhere=True, last=node_id, services=services)
        return self._run.build_for(want).addCallback(Conversation, self._reactor, self._world.randbelow)

    def circuit_to(self, node_id: NodeId) -> Deferred[Circuit]:
        """A circuit of your own that ends at a certain node, of no fewer than three.

        :return: fails with :class:`PathError` or :class:`CircuitBuildError`
        """
        return self._run.build_for(Want("", None, self._long_enough, anywhere=True, last=node_id))

    @property
    def _long_enough(self) -> int:
        return max(LEAST_HOPS, self._run.hops)

    @property
    def participants(self) -> Participants:
        """The nodes that take part in the DHT, as the listings say now."""
        return self._run.participants

    # -- Onion services

    def create_onion_service(
        self,
        ports: Iterable[Any],
        *,
        private_key: SigningKey | None = None,
        key_file: str | None = None,
        clients: Sequence[DHPublicKey] = (),
        limits: Any = None,
        progress: ProgressFunction | None = None,
    ) -> Deferred[Any]:
        """Run an onion service, and wait until clients can find it. Parameters as for :meth:`host_onion_service`.

        :return: a :class:`torpydo.apps.onionservice.HostedService`; cancellable; fails with
            :class:`ConfigurationError` or :class:`StateError`
        """
        try:
            service = self.host_onion_service(
                ports, private_key=private_key, key_file=key_file, clients=clients, limits=limits, progress=progress
            )
        except TorpydoError:
            return fail(Failure())
        found: Deferred[Any] = service.when_reachable()
        return found.addErrback(_removed, service)

    def host_onion_service(
        self,
        ports: Iterable[Any],
        *,
        private_key: SigningKey | None = None,
        key_file: str | None = None,
        clients: Sequence[DHPublicKey] = (),
        limits: Any = None,
        progress: ProgressFunction | None = None,
    ) -> Any:
        """Run an onion service, which becomes reachable by itself and keeps trying.

        :param ports: what has the streams of each port: ``"80:127.0.0.1:8000"`` (``"80"`` and ``"80:8000"`` are short
            for it), ``"80:unix:/run/web"``, or a pair of the port and an endpoint or a factory
        :param private_key: its identity; by default a new one, which the result has
        :param key_file: where that is kept; made if it is missing
        :param clients: keys of those who may come; without any everybody may who knows the name
        :param limits: what strangers can make it do, a :class:`torpydo.apps.onionservice.ServiceLimits`
        :param progress: called with percent, tag and summary
        :return: a :class:`torpydo.apps.onionservice.HostedService`
        :raises ConfigurationError: for a value that cannot be used
        :raises StateError: for a key file that cannot be used
        """
        if key_file is not None:
            private_key = self._key_of(private_key, key_file)
        return self.onions.host(ports, private_key, clients, limits, progress)

    def onion_endpoint(
        self,
        port: int,
        *,
        private_key: SigningKey | None = None,
        key_file: str | None = None,
        limits: Any = None,
    ) -> IStreamServerEndpoint:
        """A port of an onion service as an endpoint; those with one key are one service.

        :param private_key: its identity; by default a new one for each endpoint
        :param key_file: where that is kept; made if it is missing
        :param limits: as for :meth:`host_onion_service`; of several ports with one key those of the first count
        """
        onions = self.onions
        if private_key is None and key_file is None:
            private_key = SigningKey(Secret(self._world.rng(KEY_SIZE)))
        endpoint: IStreamServerEndpoint = onions.endpoint(
            port, lambda: self._key_of(private_key, key_file), limits
        )
        return endpoint

    def _key_of(self, key: SigningKey | None, path: str | None) -> SigningKey:
        if path is None or key is not None:
            if path is not None or key is None:
                raise ConfigurationError("give private_key or key_file, not both")
            return key
        return open_key_file(path, self._world.rng)

    @property
    def onions(self) -> Any:
        """The :class:`torpydo.apps.onionservice.Onions` of this client."""
        if self._routing is None:
            raise _only_steps()
        if self._onions is None:
            # By name and only now: they are made of this public API, which knows nothing of them.
            self._onions = namedAny("torpydo.apps.onionservice.Onions")(self._reactor, self, self._world)
            if self._routing.is_closed:
                self._onions.close()
        return self._onions

    def new_identity(self) -> None:
        """Nothing that is opened from now on shares a circuit, or a web connection, with anything before."""
        self._run.new_identity()
        if self._onions is not None:
            self._onions.new_identity()
        self._connections.drop()

    @property
    def allows_private_destinations(self) -> bool:
        """True in a test network, where ``localhost`` and private addresses make sense as destinations."""
        return self._run.test_network

    def status(self) -> ClientStatus:
        """The state at this moment."""
        return self._run.status()

    def close(self) -> Deferred[None]:
        """Close every stream, circuit and link; fires when all is free."""
        if self._routing is None:
            return self._close_steps()
        if self._web is not None:
            self._web.drop()
        if self._onions is not None:
            self._onions.close()
        return self._routing.close()


def _removed(failure: Failure, service: Any) -> Failure:
    service.remove()
    return failure


def _only_steps() -> LocalProtocolError:
    return LocalProtocolError("Client() has only the step-by-step calls; Client.create has this one")


def _as_connect_failure(failure: Failure) -> Failure:
    if isinstance(failure.value, TorpydoError):
        return Failure(as_connect_error(failure.value))
    return failure
