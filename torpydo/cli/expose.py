"""Let a local program be an onion service, until Ctrl-C: prints its name, and a QR code of it.

8000 exposes what listens on 127.0.0.1:8000 as port 8000 of the service, 80:8000 as port 80.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TextIO

from twisted.internet.defer import CancelledError, Deferred

from torpydo.apps.onionservice import parse_port, read_port
from torpydo.apps.programs import Program, ProgramRefusal
from torpydo.cli.clients import client_arguments, open_client
from torpydo.client import Client
from torpydo.errors import ConfigurationError
from torpydo.net import FileBudget
from torpydo.onion import DHPublicKey, parse_client_key

__all__ = ["arguments", "run"]


def _port(text: str) -> str:
    try:
        read_port(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _client_key(text: str) -> DHPublicKey:
    try:
        return parse_client_key(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo expose``."""
    parser.add_argument(
        "ports", metavar="PORT", nargs="+", type=_port, help="PORT, PORT:PORT, PORT:HOST:PORT or PORT:unix:PATH"
    )
    parser.add_argument("--persistent", metavar="FILE", help="keep the key, and so the name, in this file")
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        type=_client_key,
        metavar="KEY",
        help="let in only who has this key; may be repeated",
    )
    parser.add_argument("--qr", action=argparse.BooleanOptionalAction, help="print a QR code (default: on a terminal)")
    client_arguments(parser, hops="nodes in a circuit, at least 3; one more towards where a visitor waits (default: 3)")


def _draw(text: str, out: TextIO) -> None:
    """A QR code of *text*."""
    import_module("segno").make(text, micro=False).terminal(out, compact=True)


def _wants_code(options: argparse.Namespace) -> bool:
    there = find_spec("segno") is not None
    if options.qr and not there:
        raise ConfigurationError("--qr needs the package segno; install torpydo[cli], or leave --qr out")
    return there and (options.qr or (options.qr is None and sys.stdout.isatty()))


def _say(percent: int, tag: str, summary: str) -> None:
    print(f"torpydo: {summary}", file=sys.stderr)


def _say_once() -> Callable[[ProgramRefusal], None]:
    """Says of each cause that it occurs; more would be a line for each visitor."""
    said: set[ProgramRefusal] = set()

    def refused(cause: ProgramRefusal) -> None:
        if cause not in said:
            said.add(cause)
            print(f"torpydo: refused {cause.value} (this is said once)", file=sys.stderr)

    return refused


async def _serve(reactor: Any, client: Client, options: argparse.Namespace, *, wants_code: bool) -> int:
    """Be the service, until this is cancelled."""
    refused, grant = _say_once(), FileBudget.of_process(reactor.seconds).grant
    parsed = [parse_port(reactor, text) for text in options.ports]
    ports = [(port, Program(endpoint, refused, grant)) for port, endpoint in parsed]
    service = await client.create_onion_service(
        ports, key_file=options.persistent, clients=options.client, progress=_say
    )
    for port in service.ports:
        where = f"{service.name}:{port}"
        print(where, flush=True)
        if wants_code:
            _draw(where, sys.stdout)
            sys.stdout.flush()
    if options.persistent and not options.state_dir:
        # Who comes back to a name again and again would one day find its service behind a guard of his own.
        print("torpydo: a name that stays should keep its guard as well; add --state-dir=DIR", file=sys.stderr)
    print("torpydo: Ctrl-C ends it", file=sys.stderr)
    try:
        await Deferred()
    except CancelledError:
        print("torpydo: stopped", file=sys.stderr)
    return 0


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    wants_code = _wants_code(options)
    ports = [read_port(text)[0] for text in options.ports]
    if len({*ports}) < len(ports):
        raise ConfigurationError("one port of the service stands there twice; leave one of them out")
    async with open_client(reactor, options) as client:
        return await _serve(reactor, client, options, wants_code=wants_code)
