"""The options that say which network a client is in; those of every tap that has one."""

from __future__ import annotations

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from torpydo.client import ClientLimits
from torpydo.directory import PoolURL
from torpydo.errors import ConfigurationError, PoolURLError

__all__ = ["NetworkOptions", "THRESHOLD_OPTION"]

THRESHOLD_OPTION = ["pool-threshold", None, None, "How many pools must list a node; by default the majority.", int]


class NetworkOptions(UsageOptions):
    """Pools, the state directory and limits."""

    role = "client"
    """What it is, for errors."""

    def __init__(self) -> None:
        UsageOptions.__init__(self)
        self["pools"] = []
        self["limits"] = []

    def opt_pool(self, url: str) -> None:
        """A pool's URL with its key, from the pool's STATE/pool.url; may be repeated."""
        try:
            self["pools"].append(str(PoolURL.parse(url)))
        except PoolURLError as error:
            raise UsageError(str(error)) from None

    def opt_limit(self, word: str) -> None:
        """NAME=VALUE changes a limit; docs/howto/limits.rst has the table. May be repeated."""
        self["limits"].append(word)

    def parseArgs(self, *surplus: str) -> None:
        """Take no arguments beside the options."""
        if surplus:
            raise UsageError(f"{surplus[0]!r} is not an option of a {self.role}")

    def network(self) -> tuple[tuple[str, ...], int | None]:
        """The pools, and how many of them must list a node.

        :raises UsageError: if there are none, or that cannot be
        """
        pools, threshold = tuple(dict.fromkeys(self["pools"])), self["pool-threshold"]
        if not pools:
            raise UsageError("which network? give --pool=URL; a pool writes its URL to STATE/pool.url")
        if threshold is not None and not 1 <= threshold <= len(pools):
            raise UsageError(f"--pool-threshold={threshold}: it is 1 to the number of pools, which is {len(pools)}")
        if not self["state-dir"]:
            raise UsageError("--state-dir must name a directory")
        return pools, threshold

    def client_limits(self) -> ClientLimits:
        """What the client bounds.

        :raises UsageError: if a limit is none
        """
        try:
            return ClientLimits.parse(self["limits"])
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
