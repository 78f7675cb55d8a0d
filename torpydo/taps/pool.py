"""``twistd torpydo-pool``: the options of a pool index, and how they become a service. Called by twistd."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from torpydo.errors import ConfigurationError, ListenError
from torpydo.net import FileBudget, harden_process, keep_quiet, probe_link, settle_collector, use_steady_clock
from torpydo.pool import PoolConfig, PoolLimits, PoolService
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.process import ProcessService
from torpydo.taps.servicefigures import pool_figures
from torpydo.taps.statussocket import Source, StatusService
from torpydo.taps.unixsocket import server_endpoint

__all__ = ["Options", "makeService"]

DEFAULT_STATE = "~/.local/state/torpydo/pool"


class Options(UsageOptions):
    """What an operator can choose."""

    synopsis = "[options]"
    longdesc = (
        "Runs a pool index: it lists the nodes of an onion network for its clients. Its URL, with the key that they"
        " check, is written to pool.url in the state directory."
    )
    optParameters = [
        ["listen", None, "tcp:8080:interface=127.0.0.1", "Where to listen: a Twisted server endpoint."],
        ["state-dir", None, DEFAULT_STATE, "Where the key and the nodes are kept; made if it is missing."],
        ["requested-delay", None, 15.0, "Seconds that nodes are asked to leave between heartbeats.", float],
        ["deprecation-delay", None, 30.0, "Seconds without heartbeat after which a node is dropped.", float],
        ["gc-cycle", None, 10.0, "Seconds between two looks for such nodes.", float],
        ["stamp-bits", None, 0, "Bits of work that a node's identity must have cost; each doubles it.", int],
        METRICS_OPTION,
    ]
    optFlags = [
        ["test-network", None, "List nodes on private addresses, any number on one; for networks on one machine only."],
    ]

    def __init__(self) -> None:
        UsageOptions.__init__(self)
        self["limits"] = []

    def opt_limit(self, word: str) -> None:
        """NAME=VALUE changes a limit; docs/howto/limits.rst has the table. May be repeated."""
        self["limits"].append(word)

    def parseArgs(self, *surplus: str) -> None:
        """Take no arguments beside the options."""
        if surplus:
            raise UsageError(f"{surplus[0]!r} is not an option of a pool")

    def postOptions(self) -> None:
        """Check everything while twistd still turns an error into one line."""
        # Built-in endpoints are only described here, so they need no reactor yet.
        self.config(None)
        metrics_where(self["metrics"])

    def config(self, reactor: Any) -> PoolConfig:
        """The options as the service takes them.

        :raises UsageError: if one of them cannot be used
        """
        if not self["state-dir"]:
            raise UsageError("--state-dir must name a directory")
        try:
            return PoolConfig(
                endpoint=_endpoint(reactor, self["listen"]),
                listen=self["listen"],
                state_dir=self["state-dir"],
                requested_delay=self["requested-delay"],
                deprecation_delay=self["deprecation-delay"],
                gc_cycle=self["gc-cycle"],
                test_network=bool(self["test-network"]),
                stamp_bits=self["stamp-bits"],
                host_name=_host_name(),
                limits=PoolLimits.parse(self["limits"]),
            )
        except ConfigurationError as error:
            raise UsageError(str(error)) from None


def makeService(options: Options, reactor: Any = None) -> IService:
    """The service that twistd runs.

    :param reactor: by default Twisted's
    :raises UsageError: if an option cannot be used
    """
    files = None
    if reactor is None:
        # Only now: twistd may still choose a reactor while this module is imported.
        reactor = namedAny("twisted.internet.reactor")
        use_steady_clock(reactor)
        settle_collector(reactor)
        harden_process()
        reactor.callWhenRunning(keep_quiet, globalLogPublisher, reactor.seconds)
        files = FileBudget.of_process(reactor.seconds)
    pool = PoolService(
        reactor,
        options.config(reactor),
        probe=partial(probe_link, reactor, rng=os.urandom),
        wall_clock=time.time,
        rng=os.urandom,
        files=files,
    )

    def deaf(failure: Failure) -> None:
        # Built-in endpoints fail at once and end the process with a status; one that fails later can only end it.
        failure.trap(ListenError)
        Logger().critical("{error}", error=failure.getErrorMessage())
        reactor.stop()

    process = ProcessService(reactor)

    def figures() -> list[Figure]:
        return [*process.figures(), *pool_figures(pool.status())]

    return EndingService(
        pool,
        reactor,
        process,
        StatusService(reactor, options["state-dir"], Source(pool.report), pool, process),
        *metrics_services(reactor, "pool", options["metrics"], figures),
        started=lambda: pool.when_listening().addErrback(deaf),
    )


def _endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    try:
        endpoint = server_endpoint(reactor, description)
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise UsageError(f"--listen={description}: not a Twisted server endpoint, such as tcp:8080: {error}") from None
    return endpoint


def _host_name() -> str:
    """What this machine calls itself, if that can stand in a URL."""
    name = socket.gethostname().lower()
    return name if name and all(char.isascii() and (char.isalnum() or char in "-.") for char in name) else "localhost"
