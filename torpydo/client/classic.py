"""The older calls: one client, one connection, step by step.

::

    client = Client()
    await client.sync_nodes_list("127.0.0.1", 8080)
    await client.random_path_to_destination("127.0.0.1", 8000, 3)
    await client.send(b"hello")
    print(await client.receive(32))
    await client.close()

``random_path_to_destination`` is ``connect`` to a first node, ``next_destination`` for each further node, and
``next_destination`` once more for the destination. These calls know nothing of guards and isolation: a program that
is to be anonymous uses ``Client.create``.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from torpydo.client.bytepipe import BytePipe
from torpydo.client.circuits import Circuit
from torpydo.client.destinations import check_destination
from torpydo.client.failures import as_connect_error
from torpydo.client.links import ClientLinks
from torpydo.client.refusals import ClientRefusal
from torpydo.client.world import World
from torpydo.directory import Descriptor, NetDir, PoolURL, choose_path
from torpydo.errors import CircuitBuildError, LinkError, LocalProtocolError, PathError, TorpydoError
from torpydo.net import ListingRefresh, Refusals
from torpydo.tpdp import Address

T = TypeVar("T")


class ClassicCalls:
    """The step-by-step face of a client.

    :param reactor: connects and keeps time; by default Twisted's
    :param world: time, randomness and connections; for tests
    """

    def __init__(self, reactor: Any = None, *, world: World | None = None) -> None:
        # By name and only now: an import would install a reactor in every program that imports this module.
        self._reactor = namedAny("twisted.internet.reactor") if reactor is None else reactor
        self._world = World() if world is None else world
        self._sources: dict[PoolURL, ListingRefresh] = {}
        self._netdir: NetDir | None = None
        self._links: ClientLinks | None = None
        self._path: list[Descriptor] = []
        self._circuit: Circuit | None = None
        self._pipe: BytePipe | None = None

    # -- The nodes

    def sync_nodes_list(self, host: str, port: int, key: str | None = None) -> Deferred[tuple[tuple[str, int], ...]]:
        """Fetch the listing of the pool at *host*:*port* and add its nodes to those that are known.

        A node counts if any pool that was asked lists it. Without *key* only a loopback pool is asked, and the key
        that it shows is kept for the life of this client.

        :return: fires with the addresses of all known nodes; fails with :class:`PoolURLError`,
            :class:`PoolUnreachable` or :class:`ListingError`
        """
        return self._call(self._sync(host, port, key))

    async def _sync(self, host: str, port: int, key: str | None) -> tuple[tuple[str, int], ...]:
        name = f"[{host}]" if ":" in host else host
        url = PoolURL.parse(f"http://{name}:{port}/" + (f"#{key}" if key else ""))
        source = self._sources.get(url)
        if source is None:
            source = ListingRefresh(
                self._reactor,
                (url,),
                state=None,
                wall_clock=self._world.wall_clock,
                randbelow=self._world.randbelow,
                on_change=_ignore,
                fetch=self._world.fetch,
            )
        # Stopped below, which cancels what still waits.
        source.start().addErrback(lambda failure: failure.trap(CancelledError))
        try:
            await source.refresh_now()
        finally:
            await source.stop()
        self._sources[url] = source
        listings = {known: one.listing(known) for known, one in self._sources.items()}
        present = {known: listing for known, listing in listings.items() if listing is not None}
        self._netdir = NetDir.merge(present, tuple(present), 1, self._world.wall_clock())
        return tuple((node.address.host, node.address.port) for node in self._netdir.nodes.values())

    def purge_nodes_list(self) -> Deferred[None]:
        """Forget all nodes and all pools."""
        self._sources.clear()
        self._netdir = None
        return succeed(None)

    # -- The path

    def connect(self, host: str, port: int) -> Deferred[None]:
        """Open a link to the known node at *host*:*port*: the first node of the path.

        :return: fails with :class:`PathError` if no such node is known, and with :class:`LinkError`
        """
        return self._call(self._connect(host, port))

    async def _connect(self, host: str, port: int) -> None:
        self._check_unused()
        node = self._node_at(host, port)
        if node is None:
            raise PathError(f"no known node listens on {host}:{port}; call sync_nodes_list first")
        await self._guard_links().get(node)
        self._path = [node]

    def next_destination(self, host: str, port: int) -> Deferred[None]:
        """Go one step further: to a known node, which becomes the last of the path, or to the destination.

        What listens on the address of a known node that is not in the path yet is taken for that node; everything
        else is the destination. The circuit is built when the destination is named, because a path must be whole
        before it carries a stream: that a node refuses is told then, with its place in the path.

        :return: fails with :class:`CircuitBuildError` or a :class:`StreamError`
        """
        return self._call(self._next(host, port))

    async def _next(self, host: str, port: int) -> None:
        self._check_unused(connected=True)
        node = self._node_at(host, port)
        if node is not None and node not in self._path:
            self._path.append(node)
            return
        await self._open(host, port)

    def random_path_to_destination(self, host: str, port: int, n: int) -> Deferred[None]:
        """Connect to *host*:*port* through *n* nodes that are chosen at random, by the rules for paths.

        :return: fails with :class:`PathError`, :class:`CircuitBuildError` or a :class:`StreamError`
        """
        return self._call(self._random_path(host, port, n))

    async def _random_path(self, host: str, port: int, n: int) -> None:
        self._check_unused()
        if self._netdir is None:
            raise PathError("no nodes are known; call sync_nodes_list first")
        self._path = list(choose_path(self._netdir, hops=n, port=port, randbelow=self._world.randbelow))
        try:
            await self._open(host, port)
        except TorpydoError:
            self._path = []
            raise

    async def _open(self, host: str, port: int) -> None:
        private = self._netdir is not None and self._netdir.test_network
        host = check_destination(host, port, private_allowed=private)
        links = self._guard_links()
        hops = len(self._path)
        try:
            link = await links.get(self._path[0])
        except LinkError as error:
            raise CircuitBuildError(1, hops, self._path[0].name, str(error)) from error
        circuit = await self._world.build(
            self._reactor,
            link,
            tuple(self._path),
            rng=self._world.rng,
            build_timeout=links.limits.build_time(hops),
            owner=links,
        )
        try:
            pipe = await circuit.open_stream(Factory.forProtocol(BytePipe), host, port)
        except (TorpydoError, CancelledError):
            circuit.close()
            raise
        self._circuit, self._pipe = circuit, pipe

    def _guard_links(self) -> ClientLinks:
        if self._links is None:
            self._links = ClientLinks(
                self._reactor, self._world.rng, connect=self._world.connect,
                refused=Refusals(ClientRefusal, self._reactor.seconds).add,
            )  # fmt: skip
        return self._links

    def _node_at(self, host: str, port: int) -> Descriptor | None:
        if self._netdir is None:
            return None
        try:
            address = Address.parse(host, port)
        except ValueError:
            return None
        return next((node for node in self._netdir.nodes.values() if node.address == address), None)

    def _check_unused(self, *, connected: bool = False) -> None:
        if self._pipe is not None:
            raise LocalProtocolError("this client is connected to a destination; close it first")
        if connected and not self._path:
            raise LocalProtocolError("this client has no first node; call connect first")
        if not connected and self._path:
            raise LocalProtocolError("this client has a path already; close it first")

    # -- The bytes

    def send(self, data: bytes) -> Deferred[None]:
        """Send *data* to the destination; fires when more may be sent."""
        return self._call(self._send(data))

    async def _send(self, data: bytes) -> None:
        await self._open_pipe().send(data)

    def receive(self, n: int) -> Deferred[bytes]:
        """1 to *n* bytes from the destination as soon as there are any; no bytes at the clean end."""
        return self._call(self._receive(n))

    async def _receive(self, n: int) -> bytes:
        return await self._open_pipe().receive(n)

    def receive_exactly(self, n: int) -> Deferred[bytes]:
        """*n* bytes from the destination; fails if it ends before."""
        return self._call(self._receive_exactly(n))

    async def _receive_exactly(self, n: int) -> bytes:
        return await self._open_pipe().receive_exactly(n)

    def _open_pipe(self) -> BytePipe:
        if self._pipe is None:
            raise LocalProtocolError("this client is not connected to a destination")
        return self._pipe

    def _close_steps(self) -> Deferred[None]:
        return self._call(self._end())

    async def _end(self) -> None:
        pipe, circuit, links = self._pipe, self._circuit, self._links
        self._pipe, self._circuit, self._links, self._path = None, None, None, []
        if pipe is not None:
            await pipe.close()
        if circuit is not None:
            circuit.close()
        if links is not None:
            await links.close()

    @staticmethod
    def _call(steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(steps).addErrback(_as_connect_failure)


def _ignore(netdir: NetDir) -> None:
    """A view of one pool alone: it is merged with the others when it is complete."""


def _as_connect_failure(failure: Failure) -> Failure:
    if isinstance(failure.value, TorpydoError):
        return Failure(as_connect_error(failure.value))
    return failure
