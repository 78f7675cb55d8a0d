"""A network of separate processes on this machine: a pool, nodes, and a web server to fetch from.

Everything it keeps is in one directory; every process is the same command that a person would type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.python.filepath import FilePath

from torpydo.apps.status import read_status
from torpydo.cli.constants import LOOPBACK
from torpydo.cli.processes import ChildProcess, ChildProcesses, free_port, wait_until
from torpydo.crypto import PoolId
from torpydo.directory import PoolURL, parse_listing
from torpydo.errors import DirectoryError, StateError
from torpydo.net import fetch

__all__ = ["ProcessNetwork", "until_listening"]

# Seconds: a process needs about one on a busy machine, a node's listing some more.
START_TIME = 30.0
LIST_TIME = 60.0


async def until_listening(reactor: Any, port: int, what: str, alive: Callable[[], None]) -> None:
    """Wait until something accepts connections on *port* of this machine.

    :param what: what did not happen, for the error
    :param alive: raises when waiting has become pointless
    :raises TorpydoError: if nothing does in time
    """

    async def accepts() -> bool:
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, port)
        try:
            protocol = await connectProtocol(endpoint, Protocol())
        except ConnectError:
            return False
        protocol.transport.abortConnection()
        return True

    await wait_until(reactor, lambda: Deferred.fromCoroutine(accepts()), timeout=START_TIME, what=what, alive=alive)


@attrs.define(eq=False)
class ProcessNetwork:
    """The network; ``processes`` has all that was started.

    :param directory: an empty directory
    :param randbelow: chooses the ports
    :param advertised: given the port on which a node listens, the port that it advertises
    """

    reactor: Any
    directory: FilePath[str]
    randbelow: Callable[[int], int]
    wall_clock: Callable[[], float]
    advertised: Callable[[int], int] = int
    processes: ChildProcesses = attrs.field(init=False)
    pool_url: str = attrs.field(init=False, default="")
    web_port: int = attrs.field(init=False, default=0)
    _ports: set[int] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.processes = ChildProcesses(self.reactor, self.directory)

    def _port(self) -> int:
        while True:
            port = free_port(self.randbelow)
            if port not in self._ports:
                self._ports.add(port)
                return port

    def _state(self, name: str) -> str:
        return f"--state-dir={self.directory.child(name).path}"

    async def start_pool(self, *options: str) -> ChildProcess:
        """Start the pool and wait for its URL.

        :param options: of ``torpydo pool``; they go before those with which the pool forgets a node soon
        """
        port = self._port()
        child = self.processes.start(
            "pool", "-m", "torpydo", "pool", f"--listen=tcp:{port}:interface={LOOPBACK}",
            self._state("pool"), "--requested-delay=2", "--gc-cycle=2", "--test-network", *options,
        )  # fmt: skip
        await self.until_listening(port, "the pool does not listen")
        url_file = self.directory.child("pool").child("pool.url")
        await self._until(url_file.exists, START_TIME, "the pool has not written its URL")
        self.pool_url = url_file.getContent().decode("ascii").strip()
        return child

    def start_node(self, name: str, *options: str, files: int | None = None) -> ChildProcess:
        """Start a node that exits to this machine.

        :param options: more of them
        :param files: file descriptors that it may have, if not as many as this process
        """
        port = self._port()
        limited = () if files is None else ("/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
        return self.processes.start_program(
            name, *limited, sys.executable, "-m", "torpydo", "node", f"--listen=tcp:{port}:interface={LOOPBACK}",
            self._state(name), f"--advertise={LOOPBACK}:{self.advertised(port)}", f"--pool={self.pool_url}",
            f"--nickname={name}", "--exit-policy=accept 127.0.0.0/8:*", *options,
        )  # fmt: skip

    async def start_web(self) -> ChildProcess:
        """Start the web server."""
        self.web_port = self._port()
        child = self.processes.start("web server", "-m", "torpydo.cli.samples", str(self.web_port))
        await self.until_listening(self.web_port, "the web server does not listen")
        return child

    async def start_client(self, socks_port: int, http_port: int) -> ChildProcess:
        """Start a client with proxies for other programs."""
        child = self.processes.start(
            "client", "-m", "torpydo", "client", f"--pool={self.pool_url}", self._state("client"),
            f"--socks=tcp:{socks_port}:interface={LOOPBACK}", f"--http=tcp:{http_port}:interface={LOOPBACK}",
        )  # fmt: skip
        await self.until_listening(socks_port, "the client does not listen")
        return child

    def start_service(self, processes: ChildProcesses, name: str, *ports: str) -> ChildProcess:
        """Start an onion service; begun again under the same name it is the same service.

        :param processes: one life of it, so that it may end before everything else does
        :param ports: such as ``80:127.0.0.1:8000``
        """
        return processes.start(
            name, "-m", "torpydo", "service", f"--pool={self.pool_url}", self._state(name),
            *(f"--port={port}" for port in ports),
        )  # fmt: skip

    async def until_status(
        self, name: str, true: Callable[[dict[str, Any]], bool], timeout: float, what: str
    ) -> dict[str, Any]:
        """Wait until a process says of itself what it should.

        :param name: of its state directory: ``client``, or the node's
        :param what: what did not happen, for the error
        :returns: its status
        """
        found: dict[str, Any] = {}

        async def so_far() -> bool:
            try:
                status = await read_status(self.reactor, self.directory.child(name).path)
            except StateError:
                # It does not answer yet.
                return False
            found.clear()
            found.update(status)
            return true(found)

        await self._until(lambda: Deferred.fromCoroutine(so_far()), timeout, what)
        return found

    async def until_listed(self, count: int) -> None:
        """Wait until the pool lists *count* nodes."""
        url = PoolURL.parse(self.pool_url)
        assert url.pool_id is not None
        pool_id = url.pool_id

        async def listed() -> bool:
            return await self._listed(url, pool_id) >= count

        await self._until(lambda: Deferred.fromCoroutine(listed()), LIST_TIME, f"the pool does not list {count} nodes")

    async def until_known(self, nodes: Sequence[ChildProcess]) -> None:
        """Wait until each of the *nodes* knows as many as they are.

        Until then it opens a link for each circuit alone that goes on to a node which it does not know.
        """
        words = f" {len(nodes)} nodes are known,"
        await self._until(
            lambda: all(node.has_said(words) for node in nodes), LIST_TIME, "the nodes do not know each other"
        )

    async def _listed(self, url: PoolURL, pool_id: PoolId) -> int:
        try:
            fetched = await fetch(self.reactor, url.host, url.port, "/v1/listing")
            return len(parse_listing(fetched.body, pool_id, self.wall_clock()).entries)
        except DirectoryError:
            # Not listening yet, or no listing signed yet.
            return 0

    async def until_listening(self, port: int, what: str) -> None:
        """Wait until something accepts connections on *port*."""
        await until_listening(self.reactor, port, what, self.processes.check)

    async def _until(self, true: Callable[[], bool | Deferred[bool]], timeout: float, what: str) -> None:
        await wait_until(self.reactor, true, timeout=timeout, what=what, alive=self.processes.check)
