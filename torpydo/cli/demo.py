"""Run a whole network on this machine and fetch a file through it.

A pool index, nodes and a web server run as separate processes, this process is the client. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import tempfile
import time
from typing import Any

from twisted.internet.defer import CancelledError, FailureGroup
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThreadPool
from twisted.python.filepath import FilePath

from torpydo.cli.circuits import build_for_port
from torpydo.cli.clients import hop_count
from torpydo.cli.constants import LOOPBACK
from torpydo.cli.download import download, read_url, request
from torpydo.cli.network import ProcessNetwork
from torpydo.cli.processes import port_is_free
from torpydo.cli.progress import NoProgress
from torpydo.cli.samples import MEBIBYTE, sample_digest
from torpydo.cli.text import milliseconds, path_lines, rate
from torpydo.client import Client
from torpydo.errors import ConfigurationError, ListenError, StreamFailed

__all__ = ["arguments", "run"]


def _number(least: int, most: int) -> Any:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}, not {text!r}")
        return int(text)

    return read


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo demo``."""
    parser.add_argument("--nodes", type=_number(1, 50), default=5, metavar="N", help="nodes to start (default: 5)")
    parser.add_argument("--hops", type=hop_count, default=3, metavar="N", help="hops of the circuit (default: 3)")
    parser.add_argument(
        "--size", type=_number(1, 65536), default=256, metavar="MIB", help="how much to fetch (default: 256 MiB)"
    )
    parser.add_argument("--keep", action="store_true", help="then leave the network up until Ctrl-C")
    port = _number(1, 65535)
    parser.add_argument("--socks-port", type=port, default=9050, metavar="PORT", help="for --keep (default: 9050)")
    parser.add_argument("--http-port", type=port, default=8118, metavar="PORT", help="for --keep (default: 8118)")


class HashOutput:
    """Takes bytes, keeps only their SHA-256."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def follow(self, producer: IPushProducer) -> None:
        """Hashing is faster than the network: nothing to pause."""

    def write(self, data: bytes) -> None:
        self._sha256.update(data)

    def check(self) -> None:
        """It never fails."""

    async def finish(self) -> None:
        """Nothing is kept."""

    def abandon(self) -> None:
        """Nothing is kept."""

    @property
    def digest(self) -> str:
        """Of what came so far, as hexadecimal text."""
        return self._sha256.hexdigest()


def _say(text: str) -> None:
    print(text, flush=True)


def _check(options: argparse.Namespace) -> None:
    if options.hops > options.nodes:
        raise ConfigurationError(f"{options.hops} hops need as many nodes; give --nodes={options.hops} or more")
    if options.keep:
        for port, option in ((options.socks_port, "--socks-port"), (options.http_port, "--http-port")):
            if not port_is_free(port):
                raise ListenError(f"{LOOPBACK}:{port} is in use by another program; choose another port with {option}")


async def _start(network: ProcessNetwork, nodes: int) -> None:
    started = network.reactor.seconds()
    _say(f"starting a pool index, {nodes} nodes and a web server as separate processes in {network.directory.path}")
    await network.start_pool()
    _say(f"pool index: {network.pool_url}")
    for number in range(1, nodes + 1):
        network.start_node(f"demo{number}")
    await network.start_web()
    await network.until_listed(nodes)
    _say(f"{nodes} of {nodes} nodes are listed after {network.reactor.seconds() - started:.1f} s")


async def _fetch(network: ProcessNetwork, client: Client, options: argparse.Namespace) -> None:
    reactor = network.reactor
    target = read_url(f"http://{LOOPBACK}:{network.web_port}/{options.size}M")
    # Known before the first byte comes, from the generator itself and not from the server.
    digest = await deferToThreadPool(reactor, reactor.getThreadPool(), sample_digest, options.size * MEBIBYTE)
    built = await build_for_port(reactor, client, target.port, options.hops)
    _say(f"circuit of {options.hops} hops built in {milliseconds(built.seconds)}")
    for line in path_lines(built.circuit.path, built.hop_times):
        _say(f"  {line}")
    _say(f"fetching {options.size} MiB from {target.url}")
    output = HashOutput()
    answer = await request(reactor, built.circuit.endpoint, target)
    came = await download(reactor, answer, target, output, NoProgress())
    _say(f"first byte after {milliseconds(came.first_byte)}")
    _say(f"{came.size} bytes in {came.seconds:.2f} s: {rate(came.size, came.seconds)}")
    if output.digest != digest:
        raise StreamFailed(f"the SHA-256 is {output.digest}, but it must be {digest}")
    _say(f"SHA-256 {output.digest} verified")
    built.circuit.close()


async def _keep(network: ProcessNetwork, options: argparse.Namespace) -> None:
    await network.start_client(options.socks_port, options.http_port)
    url = f"http://{LOOPBACK}:{network.web_port}/64M"
    _say(f"the network stays up: SOCKS on {LOOPBACK}:{options.socks_port}, HTTP on {LOOPBACK}:{options.http_port}")
    _say(f"try:  curl --socks5-hostname {LOOPBACK}:{options.socks_port} {url} | sha256sum")
    _say(f"try:  curl -x http://{LOOPBACK}:{options.http_port} {url} | sha256sum")
    _say(f"both must print {sample_digest(64 * MEBIBYTE)}")
    _say("Ctrl-C ends it")
    gone = network.processes.when_one_ends()
    try:
        await gone
    except (CancelledError, FailureGroup):
        # Ctrl-C; a cancelled race fails with all that its Deferreds failed with.
        return
    network.processes.check()


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Start everything, fetch, show, and end everything."""
    _check(options)
    with tempfile.TemporaryDirectory(prefix="torpydo-demo-") as directory:
        network = ProcessNetwork(reactor, FilePath(directory), secrets.randbelow, time.time)
        try:
            await _start(network, options.nodes)
            client = await Client.create(
                reactor, [network.pool_url], network.directory.child("demo").path, hops=options.hops
            )
            try:
                await _fetch(network, client, options)
            finally:
                await client.close()
            if options.keep:
                await _keep(network, options)
        finally:
            await network.processes.end()
    _say("everything is stopped and removed")
    return 0
