"""The options that several taps have: which pools, limits, where to listen. Called by the taps."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.usage import Options, UsageError

from torpydo.client import ClientLimits
from torpydo.directory import PoolURL
from torpydo.errors import ConfigurationError, PoolURLError
from torpydo.taps.unixsocket import OPEN, server_endpoint

__all__ = ["THRESHOLD_OPTION", "MemberOptions", "NetworkOptions", "TapOptions", "listen_endpoint"]

THRESHOLD_OPTION = ["pool-threshold", None, None, "How many pools must list a node; by default the majority.", int]


def listen_endpoint(reactor: Any, option: str, text: str, unix_mode: int = OPEN) -> IStreamServerEndpoint:
    """Where an operator wants to be reached.

    :param option: that says so, for the error
    :param unix_mode: of a Unix socket whose mode the text does not give
    :raises UsageError: if it is not an endpoint
    """
    try:
        return server_endpoint(reactor, text, unix_mode)
    except (ValueError, TypeError, LookupError, OSError) as error:
        example = "such as tcp:6000:interface=127.0.0.1"
        raise UsageError(f"--{option}={text}: not a Twisted server endpoint, {example}: {error}") from None


class TapOptions(Options):
    """What every tap can be told.

    :cvar role: what it is, for errors
    """

    role: str

    def __init__(self) -> None:
        Options.__init__(self)
        self["limits"] = []

    def opt_limit(self, word: str) -> None:
        """NAME=VALUE changes a limit; docs/howto/limits.rst has the table. May be repeated."""
        self["limits"].append(word)

    def parseArgs(self, *surplus: str) -> None:
        """Take no arguments beside the options."""
        if surplus:
            raise UsageError(f"{surplus[0]!r} is not an option of a {self.role}")

    def state_dir(self) -> str:
        """Where it keeps what must survive.

        :raises UsageError: if that is nowhere
        """
        directory: str = self["state-dir"]
        if not directory:
            raise UsageError("--state-dir must name a directory")
        return directory


class MemberOptions(TapOptions):
    """Those of whoever belongs to a network."""

    def __init__(self) -> None:
        TapOptions.__init__(self)
        self["pools"] = []

    def opt_pool(self, url: str) -> None:
        """A pool's URL with its key, from the pool's STATE/pool.url; may be repeated."""
        try:
            self["pools"].append(PoolURL.parse(url))
        except PoolURLError as error:
            raise UsageError(str(error)) from None

    def pools(self) -> tuple[PoolURL, ...]:
        """The pools, each of them once.

        :raises UsageError: if there are none
        """
        pools = tuple(dict.fromkeys(self["pools"]))
        if not pools:
            raise UsageError("which network? give --pool=URL; a pool writes its URL to STATE/pool.url")
        return pools


class NetworkOptions(MemberOptions):
    """Those of whoever runs a client."""

    def network(self) -> tuple[tuple[str, ...], int | None]:
        """The pools, and how many of them must list a node.

        :raises UsageError: if there are none, or that cannot be
        """
        pools, threshold = tuple(map(str, self.pools())), self["pool-threshold"]
        if threshold is not None and not 1 <= threshold <= len(pools):
            raise UsageError(f"--pool-threshold={threshold}: it is 1 to the number of pools, which is {len(pools)}")
        return pools, threshold

    def client_limits(self) -> ClientLimits:
        """What the client bounds.

        :raises UsageError: if a limit is none
        """
        try:
            return ClientLimits.parse(self["limits"])
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
