"""The client behind ``fetch``, ``path``, ``dht`` and ``expose``: their common options; it is closed at the end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from torpydo.client import Client
from torpydo.errors import ConfigurationError

__all__ = ["POOLS_VARIABLE", "client_arguments", "hop_count", "open_client"]

POOLS_VARIABLE = "TORPYDO_POOLS"
MOST_HOPS = 8
DEFAULT_HOPS = 3
HOPS_HELP = f"hops of the circuit (default: {DEFAULT_HOPS})"


def hop_count(text: str) -> int:
    """Read a number of hops, for argparse."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_HOPS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_HOPS}, not {text!r}")
    return int(text)


def client_arguments(parser: argparse.ArgumentParser, *, hops: str = HOPS_HELP) -> None:
    """Add the options that say which network, and through how many hops.

    :param hops: what is said of those
    """
    parser.add_argument(
        "--pool",
        action="append",
        metavar="URL",
        help=f"a pool's URL with its key, from its STATE/pool.url; may be repeated (default: ${POOLS_VARIABLE})",
    )
    parser.add_argument("--pool-threshold", type=int, metavar="N", help="how many pools must list a node")
    parser.add_argument("--state-dir", metavar="DIR", help="keep guard and listings here (default: keep nothing)")
    parser.add_argument("--hops", type=hop_count, default=DEFAULT_HOPS, metavar="N", help=hops)


@asynccontextmanager
async def open_client(reactor: Any, options: argparse.Namespace) -> AsyncIterator[Client]:
    """A client that can build circuits, closed when the block is left.

    :raises TorpydoError: if it cannot reach its network
    """
    pools = options.pool or os.environ.get(POOLS_VARIABLE, "").split()
    if not pools:
        raise ConfigurationError(
            f"which network? give --pool=URL (a pool writes it to STATE/pool.url) or set {POOLS_VARIABLE}"
        )

    def progress(percent: int, tag: str, summary: str) -> None:
        if options.verbose:
            print(f"torpydo: {percent}% {summary}", file=sys.stderr)

    client = await Client.create(
        reactor, pools, options.state_dir, pool_threshold=options.pool_threshold, hops=options.hops, progress=progress
    )
    try:
        yield client
    finally:
        await client.close()
