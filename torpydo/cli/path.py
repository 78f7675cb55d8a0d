"""Build a circuit that can reach HOST:PORT, and show it.

Nothing is sent to HOST; the exit is chosen by its policy for PORT.
"""

from __future__ import annotations

import argparse
from typing import Any

from torpydo.cli.circuits import build_for_port
from torpydo.cli.clients import client_arguments, open_client
from torpydo.cli.text import milliseconds, path_lines
from torpydo.errors import ConfigurationError
from torpydo.onion import is_onion

__all__ = ["arguments", "destination", "run"]


def destination(text: str) -> tuple[str, int]:
    """Read HOST:PORT, for argparse; an IPv6 address stands in brackets."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not port.isascii() or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, for example example.org:443 or [2001:db8::1]:443")
    if not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 1 to 65535, not {port}")
    return host[1:-1] if bracketed else host, int(port)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo path``."""
    parser.add_argument("destination", metavar="HOST:PORT", type=destination)
    client_arguments(parser)


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Print the path of a new circuit."""
    host, port = options.destination
    if is_onion(host):
        raise ConfigurationError("no exit leads to an onion service; 'torpydo fetch' says whether one can be reached")
    async with open_client(reactor, options) as client:
        built = await build_for_port(reactor, client, port, options.hops)
        for line in path_lines(built.circuit.path, built.hop_times):
            print(line)
        print(f"built in {milliseconds(built.seconds)}, round trip {milliseconds(await built.circuit.ping())}")
    return 0
