"""Keep and look for small signed items in the nodes' hash table.

An item belongs to a key; TARGET is what 'put' prints. Nobody but the owner of the key can change it, and it is gone a
few hours after it was put last.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from torpydo.cli.clients import client_arguments, open_client
from torpydo.dht import MAX_LIFE, MAX_SALT, MAX_VALUE, Item, target_of
from torpydo.errors import ItemError
from torpydo.net import open_key_file

__all__ = ["arguments", "run"]

LIFE = 2 * 3600


def _target(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no target; it has 64 hexadecimal digits, as 'put' prints them")
    return raw


def _life(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIFE:
        raise argparse.ArgumentTypeError(f"seconds, 1 to {MAX_LIFE}, not {text!r}")
    return int(text)


def _value(text: str) -> bytes:
    # Read here, where no reactor runs yet: it would wait with everything, and Ctrl-C with it. The rest as for the salt.
    value = sys.stdin.buffer.read(MAX_VALUE + 1) if text == "-" else os.fsencode(text)
    if len(value) > MAX_VALUE:
        raise argparse.ArgumentTypeError(f"at most {MAX_VALUE} bytes")
    return value


def _salt(text: str) -> bytes:
    # As the bytes that were typed, whatever the terminal's encoding.
    raw = os.fsencode(text)
    if len(raw) > MAX_SALT:
        raise argparse.ArgumentTypeError(f"at most {MAX_SALT} bytes, not {len(raw)}")
    return raw


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo dht``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="print the value of an item", allow_abbrev=False)
    get.add_argument("target", metavar="TARGET", type=_target)
    get.add_argument("--first", action="store_true", help="take the first that is found, not the newest")
    put = actions.add_parser("put", help="keep a value; prints its target", allow_abbrev=False)
    put.add_argument(
        "value", type=_value, metavar="VALUE", help="text, or - for what comes on standard input; '' takes it back"
    )
    put.add_argument("--key-file", metavar="FILE", required=True, help="the owner's key; made if it is missing")
    put.add_argument(
        "--salt", type=_salt, default=b"", metavar="TEXT", help="tells several items of one key apart"
    )
    put.add_argument(
        "--life", type=_life, default=LIFE, metavar="SECONDS", help=f"for how long, at least (default: {LIFE})"
    )
    stats = actions.add_parser("stats", help="show who takes part, as far as the listings say", allow_abbrev=False)
    for action in (get, put, stats):
        client_arguments(action, hops="nodes in a circuit, at least 3 (default: 3)")


def _shown(value: bytes) -> str:
    """A value for a person: a terminal would obey what strangers have put into it."""
    text = value.decode("utf-8", "replace")
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def _check_participants(client: Any) -> None:
    if not client.participants:
        raise ItemError("no node of this network takes part in the DHT (see 'torpydo dht stats')")


async def _get(client: Any, options: argparse.Namespace) -> int:
    _check_participants(client)
    item = await client.onions.dht.get(options.target, newest=not options.first)
    if item is None or not item.value:
        raise ItemError("no node has an item for this target: it was never put, has expired, or was taken back")
    if sys.stdout.isatty():
        print(_shown(item.value))
    else:
        sys.stdout.buffer.write(item.value)
        sys.stdout.flush()
    print(f"torpydo: sequence {item.sequence}, {len(item.value)} bytes", file=sys.stderr)
    return 0


async def _put(client: Any, options: argparse.Namespace) -> int:
    _check_participants(client)
    key, salt, dht = open_key_file(options.key_file, os.urandom), options.salt, client.onions.dht
    before = await dht.get(target_of(key.public, salt), newest=True)
    now = time.time()
    # Milliseconds: it rises without a file that would have to remember the last one, unless a clock was ahead.
    sequence, expires = int(now * 1000), int(now) + options.life
    if before is not None:
        # It must not outlive this one, or somebody could bring it back afterwards (protocol-dht, Items).
        sequence, expires = max(sequence, before.sequence + 1), max(expires, before.expires)
    item = Item.make(key, key.public, salt, sequence, expires, options.value)
    kept = await dht.put(item)
    if not kept:
        raise ItemError("no node keeps it: they have a newer one of this key, or no room; try again later")
    print(target_of(key.public, salt).hex())
    print(f"torpydo: kept by {kept} nodes", file=sys.stderr)
    return 0


async def _stats(client: Any, options: argparse.Namespace) -> int:
    print(f"nodes in the network: {client.status().nodes}")
    print(f"nodes that take part: {len(client.participants)}")
    return 0


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Do what was asked."""
    actions = {"get": _get, "put": _put, "stats": _stats}
    async with open_client(reactor, options) as client:
        return await actions[options.action](client, options)
