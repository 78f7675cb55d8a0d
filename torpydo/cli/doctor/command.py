"""Look for what is wrong: with this machine, a state directory, the pools, the network, and one's own node.

Each thing is told as ok, warning or problem, with a cause and what helps. Nothing is changed. The exit status is 0
without problems, 3 if there is one with the network, 4 if there is one with the state directory.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from torpydo.apps.status import STATUS_SOCKET, read_status
from torpydo.cli.clients import POOLS_VARIABLE
from torpydo.cli.doctor.findings import Findings
from torpydo.cli.doctor.machine import Home, is_used, look_at_files, look_at_state, look_at_versions
from torpydo.cli.doctor.network import look_at_agreement, look_at_paths
from torpydo.cli.doctor.ownnode import ProbeFunction, find_node, look_at_listings, look_at_port
from torpydo.cli.doctor.pools import Answer, FetchFunction, ask_pool
from torpydo.crypto import NodeId
from torpydo.directory import Listing, PoolURL
from torpydo.errors import ConfigurationError, StateError
from torpydo.net import LooseResolver, fetch, probe_link
from torpydo.node import Advertised, make_randbelow
from torpydo.tpdp import Address

__all__ = ["Doctor", "arguments", "run"]

ALL_TIME: Final = 18.0
"""Seconds for everything."""
STALE_LAG: Final = 1.0
"""Seconds of loop lag that are worth telling."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo doctor``."""
    parser.add_argument(
        "--pool", action="append", metavar="URL", help=f"a pool's URL; may be repeated (default: ${POOLS_VARIABLE})"
    )
    parser.add_argument("--pool-threshold", type=int, metavar="N", help="how many pools must list a node")
    parser.add_argument("--state-dir", metavar="DIR", help="of whatever you run; it may be running")
    parser.add_argument("--port", type=_port, default=443, metavar="N", help="which exits are wanted (default: 443)")
    parser.add_argument("--advertise", metavar="HOST:PORT", help="where others reach your node")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 1 to 65535, not {text!r}")
    return int(text)


@attrs.define(eq=False)
class Doctor:
    """One visit.

    :param fetch: called like :func:`torpydo.net.fetch`
    :param probe: called like :func:`torpydo.net.probe_link`
    :param ask_status: called like :func:`torpydo.apps.status.read_status`
    """

    _reactor: Any
    pools: tuple[PoolURL, ...] = ()
    threshold: int | None = None
    state_dir: str | None = None
    port: int = 443
    advertise: Advertised | None = None
    findings: Findings = attrs.field(factory=Findings)
    _fetch: FetchFunction = fetch
    _probe: ProbeFunction = probe_link
    _ask_status: Callable[..., Coroutine[Any, Any, dict[str, Any]]] = read_status
    _wall_clock: Callable[[], float] = time.time
    _rng: Callable[[int], bytes] = os.urandom

    async def examine(self) -> None:
        """Look at everything; done within 20 s, whatever is down."""
        look_at_versions(self.findings)
        home = Home() if self.state_dir is None else look_at_state(self.findings, self.state_dir)
        looks = [self._guarded(self._look_at_socket(home)), self._guarded(self._ask(home))]
        around: Deferred[Any] = DeferredList(looks)
        await around.addTimeout(ALL_TIME, self._reactor, onTimeoutCancel=self._too_late)

    def _too_late(self, result: object, seconds: float) -> None:
        self.findings.problem(
            "time", f"not everything could be looked at within {seconds:.0f} s",
            "something swallows what is sent, and answers nothing", "see what is missing above, and look there",
        )  # fmt: skip

    def _guarded(self, looking: Coroutine[Any, Any, None]) -> Deferred[None]:
        def broke(failure: Failure) -> None:
            if isinstance(failure.value, FirstError):
                failure = failure.value.subFailure
            if failure.check(CancelledError):
                # The time is over, which is said once for all.
                return
            # The edge of the process: one look that fails in a way nobody thought of must not cost the others.
            self.findings.problem(
                "doctor", f"a look failed: {failure.value!r}", "a mistake in torpydo",
                "please report it, with what --json prints",
            )  # fmt: skip

        return Deferred.fromCoroutine(looking).addErrback(broke)

    # -- What runs here

    async def _look_at_socket(self, home: Home) -> None:
        if self.state_dir is None:
            look_at_files(self.findings, home)
            return
        try:
            status = await self._ask_status(self._reactor, self.state_dir)
        except StateError as error:
            look_at_files(self.findings, home)
            self._look_why_silent(self.state_dir, error)
            return
        most = status.get("files_most")
        look_at_files(self.findings, home, most if isinstance(most, int) else 0)
        public = "the client that runs is not ready; its 'torpydo status' has the reason, which may name its guard"
        if status.get("ready") is False and status.get("percent") == 100:
            self.findings.problem(
                "status", f"the client that runs was ready, and is not any more: {status.get('reason')}",
                "the network is away, a firewall keeps it off, or nodes that it needs are gone",
                "see what is said of the pools and paths, and whether this machine reaches others; it keeps trying",
                public=public,
            )  # fmt: skip
        elif status.get("ready") is False:
            self.findings.warn(
                "status", f"the client that runs is not ready: {status.get('reason')}", str(status.get("summary")),
                "see below", public=public,
            )  # fmt: skip
        else:
            self.findings.ok("status", "what runs with this state directory answers")
        for pool in status.get("pools", []):
            if pool.get("lists_this_node") is False:
                says = f"{pool.get('error')}; the pool says: {pool.get('says')}"
                remedy = "docs/howto/run-a-node has a line for each reason"
                self.findings.problem("own node", f"{pool.get('pool')} does not list it", says, remedy)
        for warning in status.get("warnings", []):
            self.findings.warn(
                "status", str(warning), "the client has seen it", "docs/howto/operating says what to do",
                public="the client warns of something that 'torpydo status' names",
            )  # fmt: skip
        lags = [status.get("loop_lag"), status.get("worker_lag")]
        lag = max([lag for lag in lags if isinstance(lag, float)], default=0.0)
        if lag > STALE_LAG:
            self.findings.warn(
                "status", f"its event loop was {lag:.1f} s late within the last minute",
                "the machine has too little time for it", "end what else uses the processor, or use --workers",
            )  # fmt: skip

    def _look_why_silent(self, directory: str, error: StateError) -> None:
        """Nothing runs, or what runs does not answer: the state directory's lock tells which."""
        socket = os.path.join(os.path.abspath(os.path.expanduser(directory)), STATUS_SOCKET)
        nobody = isinstance(error.__cause__, ConnectError) or not os.path.lexists(socket)
        used = is_used(directory)
        if used is None:
            self.findings.warn(
                "status", f"whether something runs cannot be told: {error}", "the state directory is refused",
                "see what is said of it",
            )  # fmt: skip
        elif nobody and not used:
            self.findings.ok("status", "nothing runs with this state directory")
        elif nobody:
            self.findings.warn(
                "status", f"something runs with this state directory and has no status: {error}",
                f"it started a moment ago, or it could not make {STATUS_SOCKET}", "look again, and then at its log",
            )  # fmt: skip
        elif used:
            self.findings.problem(
                "status",
                f"what runs with this state directory does not answer as it should: {str(error).partition(';')[0]}",
                "it is stopped, or hangs, or is too busy for that",
                "look at its log, and at the processor time that it takes; restart it",
            )  # fmt: skip
        else:
            self.findings.problem(
                "status", f"nothing runs with this state directory, and {socket} is somebody's: {error}",
                "another program listens there", "find it with ss -xlp, and end it",
            )  # fmt: skip

    # -- The network

    async def _ask(self, home: Home) -> None:
        if not self.pools:
            if home.node_id is not None or self.advertise is not None:
                self.findings.warn("pools", "none is named", "there is no --pool", "name the pools of the node")
            return
        asked = [
            Deferred.fromCoroutine(
                ask_pool(self._reactor, url, self.findings, fetch=self._fetch, wall_clock=self._wall_clock)
            )
            for url in self.pools
        ]
        heard = await DeferredList(asked, fireOnOneErrback=True, consumeErrors=True)
        answers: dict[PoolURL, Answer] = {url: answer for url, (_, answer) in zip(self.pools, heard, strict=True)}
        listings = {url: answer.listing for url, answer in answers.items() if answer.listing is not None}
        # Where this computer's clock is wrong, the pools' is the one that their listings fit to.
        now = sorted(answer.now for answer in answers.values())[len(answers) // 2]
        netdir = look_at_agreement(self.findings, self.pools, listings, self.threshold, now)
        if netdir is not None:
            look_at_paths(self.findings, netdir, self.port, make_randbelow(self._rng))
        await self._look_at_node(home.node_id, listings, now)

    async def _look_at_node(self, node_id: NodeId | None, listings: dict[PoolURL, Listing], now: float) -> None:
        advertised = None if self.advertise is None else await self._resolve(self.advertise)
        wanted = node_id or advertised
        if wanted is None:
            return
        listed = find_node(listings, wanted)
        newest = listed.newest
        if listings:
            look_at_listings(self.findings, listed, advertised, now)
        address = advertised or (None if newest is None else newest.address)
        known = node_id or (None if newest is None else newest.node_id)
        if address is None or known is None:
            what = "the address of the node is not known" if address is None else "the id of the node is not known"
            remedy = "give --advertise=HOST:PORT" if address is None else "give the node's --state-dir"
            self.findings.warn("own port", f"not tried: {what}", "no pool lists the node", remedy)
            return
        await look_at_port(
            self._reactor, self.findings, address, known, listed=newest is not None and newest.address == address,
            probe=self._probe, rng=self._rng,
        )  # fmt: skip

    async def _resolve(self, where: Advertised) -> Address | None:
        if where.address is not None:
            return where.address
        found: list[Any] = await _addresses(self._reactor, where.host)
        if not found:
            self.findings.problem(
                "own node", f"{where.host} does not resolve", "the name is wrong, or the DNS does not answer",
                "check the name, and /etc/resolv.conf",
            )  # fmt: skip
            return None
        return Address.parse(found[0].host, where.port)


def _addresses(reactor: Any, host: str) -> Deferred[list[Any]]:
    """The addresses of a name, IPv4 first."""
    done: Deferred[list[Any]] = Deferred()
    reactor.nameResolver.resolveHostName(_Receiver(done), host, 0)
    return done


class _Receiver:
    def __init__(self, done: Deferred[list[Any]]) -> None:
        self._done = done
        self._found: list[Any] = []

    def resolutionBegan(self, resolution: Any) -> None:
        """Nothing to do: the whole visit has an end."""

    def addressResolved(self, address: Any) -> None:
        """One more."""
        self._found.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self._done.called:
            self._done.callback(sorted(self._found, key=lambda address: ":" in address.host))


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Print the findings."""
    urls = options.pool or os.environ.get(POOLS_VARIABLE, "").split()
    pools = tuple(dict.fromkeys(PoolURL.parse(text) for text in urls))
    if options.pool_threshold is not None and not 1 <= options.pool_threshold <= max(len(pools), 1):
        raise ConfigurationError(f"--pool-threshold={options.pool_threshold}: it is 1 to the number of pools")
    advertise = None if options.advertise is None else Advertised.parse(options.advertise)
    reactor.installNameResolver(LooseResolver(reactor.callFromThread))
    doctor = Doctor(reactor, pools, options.pool_threshold, options.state_dir, options.port, advertise)
    await doctor.examine()
    findings = doctor.findings
    print(findings.to_json() if options.json else "\n".join(findings.lines()))
    return findings.status
