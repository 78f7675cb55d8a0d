"""``twistd torpydo-node``: the options of a node, and how they become a service. Called by twistd."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from torpydo.apps.dht import NodeDHT
from torpydo.client import World
from torpydo.crypto import NodeId
from torpydo.directory import ExitPolicy
from torpydo.errors import BadKey, ConfigurationError
from torpydo.net import LooseResolver
from torpydo.node import DEFAULT_BANDWIDTH, Advertised, NodeConfig, NodeLimits, NodeService
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.options import MemberOptions, listen_endpoint
from torpydo.taps.ownprocess import own_process
from torpydo.taps.process import ProcessService
from torpydo.taps.servicefigures import node_figures
from torpydo.taps.statussocket import Source, StatusService

__all__ = ["Options", "makeService"]

DEFAULT_STATE = "~/.local/state/torpydo/node"
_BANDWIDTH = re.compile(r"([0-9]{1,13})([kKmMgG]?)", re.ASCII)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
# A listener on one address, as far as the text of the endpoint tells: what others reach the node at.
_CONCRETE = re.compile(r"tcp6?:.*interface=(?!0\.0\.0\.0(?::|\Z)|(?:\\?:)+\Z|\Z).+", re.ASCII)

# Endpoints whose connections are sockets and nothing more.
_PLAIN = re.compile(r"(?:tcp6?|unix|systemd):", re.ASCII)


class Options(MemberOptions):
    """What an operator can choose."""

    role = "node"
    synopsis = "--pool=URL [options]"
    longdesc = (
        "Runs a node of an onion network: it relays circuits, and opens outside connections if its exit policy says so."
        " Its keys are kept in the state directory: back that up, the node's identity is in it."
    )
    optParameters = [
        ["listen", None, "tcp:6000:interface=127.0.0.1", "Where to listen: a Twisted server endpoint."],
        ["advertise", None, None, "HOST:PORT where others reach it; by default where it listens, if it is one."],
        ["state-dir", None, DEFAULT_STATE, "Where keys and listings are kept; made if it is missing."],
        ["exit-policy", None, "", "Destinations to open, 'accept *:443, accept *:80' for example; by default none."],
        ["nickname", None, "", "A name for people; it proves nothing."],
        ["bandwidth", None, str(DEFAULT_BANDWIDTH), "Bytes a second to claim, such as 10M; nothing enforces it."],
        ["workers", None, "1", "Processes that carry circuits: one for each core of a busy node."],
        ["drain", None, "2", "Seconds that circuits in use have when the node stops."],
        METRICS_OPTION,
    ]
    optFlags = [
        ["allow-single-hop", None, "Open connections for clients that use no other node. They are not anonymous."],
    ]

    def __init__(self) -> None:
        MemberOptions.__init__(self)
        self["family"] = []

    def opt_family(self, nodes: str) -> None:
        """Ids of your other nodes, with commas between them; may be repeated. They must name this one, too."""
        for word in filter(None, re.split(r"[,\s]+", nodes)):
            try:
                self["family"].append(NodeId.parse(word))
            except BadKey as error:
                raise UsageError(f"--family: {word!r} is not a node id: {error}") from None

    def postOptions(self) -> None:
        """Check everything while twistd still turns an error into one line."""
        # Built-in endpoints are only described here, so they need no reactor yet.
        self.config(None)
        metrics_where(self["metrics"])

    def config(self, reactor: Any) -> NodeConfig:
        """The options as the service takes them.

        :raises UsageError: if one of them cannot be used
        """
        pools, state_dir = self.pools(), self.state_dir()
        workers = _workers(self["workers"])
        if workers > 1 and not _PLAIN.match(self["listen"]):
            raise UsageError(
                f"--listen={self['listen']}: only connections to tcp:, tcp6:, unix: and systemd: can be given to"
                " workers; choose one of these, or leave --workers out"
            )
        endpoint = listen_endpoint(reactor, "listen", self["listen"])
        if self["advertise"] is None and not _CONCRETE.fullmatch(self["listen"]):
            raise UsageError(
                f"--listen={self['listen']} names no address at which others reach the node; add --advertise=HOST:PORT"
            )
        try:
            return NodeConfig(
                endpoint=endpoint,
                listen=self["listen"],
                pools=pools,
                state_dir=state_dir,
                advertise=None if self["advertise"] is None else _advertised(self["advertise"]),
                exit_policy=ExitPolicy.parse(self["exit-policy"]),
                nickname=self["nickname"],
                family=frozenset(self["family"]),
                bandwidth=_bandwidth(self["bandwidth"]),
                allow_single_hop=bool(self["allow-single-hop"]),
                workers=workers,
                drain=_drain(self["drain"]),
                limits=NodeLimits.parse(self["limits"]),
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
        reactor.installNameResolver(LooseResolver(reactor.callFromThread))
    dht = NodeDHT(reactor, World())
    node = NodeService(reactor, options.config(reactor), wall_clock=time.time, rng=os.urandom, files=files, local=dht)

    process = ProcessService(reactor)

    def figures() -> list[Figure]:
        return [*process.figures(), *node_figures(node.status(), node.report())]

    return EndingService(
        node,
        reactor,
        process,
        StatusService(reactor, options["state-dir"], Source(node.report), node, Source(dht.status), process),
        *metrics_services(reactor, "node", options["metrics"], figures),
        listening=node.when_listening,
    )


def _advertised(text: str) -> Advertised:
    try:
        return Advertised.parse(text)
    except ConfigurationError as error:
        raise UsageError(f"--advertise: {error}") from None


def _workers(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        raise UsageError(f"--workers={text}: a number of processes, such as 2")
    return int(text)


def _drain(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,3})?", text, re.ASCII):
        raise UsageError(f"--drain={text}: a number of seconds, such as 60")
    return float(text)


def _bandwidth(text: str) -> int:
    match = _BANDWIDTH.fullmatch(text)
    if match is None:
        raise UsageError(f"--bandwidth={text}: a number of bytes a second, such as 5000000 or 5M")
    return int(match[1]) * _FACTORS[match[2].lower()]
