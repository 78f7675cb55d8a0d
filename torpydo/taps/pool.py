"""``twistd torpydo-pool``: the options of a pool index, and how they become a service. Called by twistd."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from torpydo.errors import ConfigurationError
from torpydo.net import probe_link
from torpydo.pool import PoolConfig, PoolLimits, PoolService
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.options import TapOptions, listen_endpoint
from torpydo.taps.ownprocess import own_process
from torpydo.taps.process import ProcessService
from torpydo.taps.servicefigures import pool_figures
from torpydo.taps.statussocket import Source, StatusService

__all__ = ["Options", "makeService"]

DEFAULT_STATE = "~/.local/state/torpydo/pool"


class Options(TapOptions):
    """What an operator can choose."""

    role = "pool"
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

    def postOptions(self) -> None:
        """Check everything while twistd still turns an error into one line."""
        # Built-in endpoints are only described here, so they need no reactor yet.
        self.config(None)
        metrics_where(self["metrics"])

    def config(self, reactor: Any) -> PoolConfig:
        """The options as the service takes them.

        :raises UsageError: if one of them cannot be used
        """
        state_dir = self.state_dir()
        try:
            return PoolConfig(
                endpoint=listen_endpoint(reactor, "listen", self["listen"]),
                listen=self["listen"],
                state_dir=state_dir,
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
        reactor, files = own_process()
    pool = PoolService(
        reactor,
        options.config(reactor),
        probe=partial(probe_link, reactor, rng=os.urandom),
        wall_clock=time.time,
        rng=os.urandom,
        files=files,
    )

    process = ProcessService(reactor)

    def figures() -> list[Figure]:
        return [*process.figures(), *pool_figures(pool.status())]

    return EndingService(
        pool,
        reactor,
        process,
        StatusService(reactor, options["state-dir"], Source(pool.report), pool, process),
        *metrics_services(reactor, "pool", options["metrics"], figures),
        listening=pool.when_listening,
    )


def _host_name() -> str:
    """What this machine calls itself, if that can stand in a URL."""
    name = socket.gethostname().lower()
    return name if name and all(char.isascii() and (char.isalnum() or char in "-.") for char in name) else "localhost"
