"""Entry points of how a link begins: the two messages of its handshake, and AUTH (docs/protocol, sections Handshake,
Options, Frames). What is sealed in a message is reached as well: an input may be the options in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import attrs

from torpydo.crypto import SigningKey
from torpydo.errors import CryptoError
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.fixed import CLIENT_NODE, NODE, NOW, fixed_rng
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import Address, Link, LinkClosed, LinkState
from torpydo.tpdp.greeting import LinkHello, answer_hello, check_auth, make_auth
from torpydo.tpdp.handshake import (
    OPTION_CIPHERS,
    OPTION_CLOCK,
    OPTION_SEEN,
    OPTION_VERSIONS,
    ClientHandshake,
    HandshakeKeys,
    Proto,
    encode_options,
    respond,
)
from torpydo.tpdp.records import Cipher
from torpydo.wire import Malformed

__all__ = ["TARGETS", "greetings", "initiator", "responder"]

HANDSHAKE: Final = 512
OPTIONS: Final = 464
HERE: Final = Address(b"\x05\x05\x05\x05", 5)
MOST_SAID: Final = 2000
"""Bytes that an end of a link says at the most before it has heard a record: its message and a PADDING."""


def initiator(identity: SigningKey | None = None, *, aegis: bool = True) -> Link:
    """The end that connects, the same each time."""
    return Link.initiator(NODE.node_id, rng=fixed_rng(b"initiator"), now=0.0, identity=identity, aegis=aegis)


def responder(*, aegis: bool = True) -> Link:
    """The end of the node, the same each time."""
    return Link.responder(
        NODE, rng=fixed_rng(b"responder"), now=0.0, wall_clock=lambda: float(NOW), aegis=aegis, seen=HERE
    )


@attrs.frozen
class Greetings:
    """What a whole handshake between the two says, and what it yields."""

    hello: bytes
    reply: bytes
    keys: HandshakeKeys
    cipher: Cipher


@cache
def greetings(aegis: bool) -> Greetings:
    """The handshake between :func:`initiator` and :func:`responder`."""
    hello = LinkHello.start(NODE.node_id, rng=fixed_rng(b"initiator"), aegis=aegis)
    keys, cipher, reply = answer_hello(
        NODE, hello.message, rng=fixed_rng(b"responder"), clock=NOW, aegis=aegis, seen=HERE
    )
    return Greetings(hello.message, reply, keys, cipher)


@cache
def _greeter() -> ClientHandshake:
    """The initiator's half, with the options yet to be chosen."""
    return LinkHello.start(NODE.node_id, rng=fixed_rng(b"initiator"), aegis=True)._handshake


def _run_hello(data: bytes) -> None:
    """A responder reads its first bytes: as they are, or sealed options."""
    script = Cursor(data)
    sizes = script.short()
    sealed = script.byte() & 1
    message = script.rest()
    if sealed:
        options = message[:OPTIONS].ljust(OPTIONS, b"\0")
        own = _greeter()
        message = ClientHandshake.start(Proto.LINK, NODE.node_id, own.node_key, own.ephemeral, options).message
    link = responder()
    for piece in cut(message, sizes):
        require(link.receive_data(piece, 0.0) == [], "a responder says something before the first record")
    answer = link.data_to_send()
    if link.state is LinkState.PENDING:
        require(len(answer) == HANDSHAKE, "the reply has not the one size")
    else:
        require(link.state in (LinkState.HELLO, LinkState.MUTE) and not answer, "a hello that is none was answered")


def _run_reply(data: bytes) -> None:
    """An initiator reads the reply: as it is, or sealed options."""
    script = Cursor(data)
    sizes = script.short()
    mode = script.byte()
    message = script.rest()
    aegis = not mode & 2
    if mode & 1:
        options = message[:OPTIONS].ljust(OPTIONS, b"\0")
        hello = greetings(aegis).hello
        message = respond(Proto.LINK, NODE.node_id, NODE.dh_key(), _greeter().ephemeral, hello, options)[1]
    link = initiator(aegis=aegis)
    require(link.data_to_send() == greetings(aegis).hello, "the hello is not the same for the same random bytes")
    for piece in cut(message, sizes):
        events = link.receive_data(piece, 0.0)
        if link.state is LinkState.CLOSED:
            require(len(events) == 1 and isinstance(events[0], LinkClosed), "a refused reply brings one event")
            break
    require(len(link.data_to_send()) <= MOST_SAID, "a reply makes the initiator say too much")


def _hello_seeds() -> Iterable[bytes]:
    message = greetings(True).hello
    yield scripted(b"") + b"\0" + message
    yield scripted(bytes((99, 0))) + b"\0" + message + b"more"
    for options in (
        {OPTION_VERSIONS: b"\1", OPTION_CIPHERS: b"\2\1"},
        {OPTION_VERSIONS: b"\1\2", OPTION_CIPHERS: b"\1", 77: b"unknown"},
        {OPTION_VERSIONS: b"\2", OPTION_CIPHERS: b"\1"},
    ):
        yield scripted(b"") + b"\1" + encode_options(options).rstrip(b"\0")


def _reply_seeds() -> Iterable[bytes]:
    yield scripted(b"") + b"\0" + greetings(True).reply
    yield scripted(b"\x2a") + b"\2" + greetings(False).reply
    good = {OPTION_VERSIONS: b"\1", OPTION_CIPHERS: b"\2", OPTION_CLOCK: NOW.to_bytes(8, "big")}
    for options in (
        good | {OPTION_SEEN: HERE.ip + b"\0\5"},
        good | {OPTION_SEEN: bytes(16) + b"\0\5", OPTION_CIPHERS: b"\1"},
        good | {OPTION_VERSIONS: b"\2"},
        good | {OPTION_SEEN: HERE.ip, OPTION_CLOCK: b"\0"},
        good | {OPTION_CIPHERS: b"\3"},
    ):
        yield scripted(b"") + b"\1" + encode_options(options).rstrip(b"\0")


def _run_auth(data: bytes) -> None:
    """The body of an AUTH frame."""
    body = data[:1024].ljust(1024, b"\0")
    try:
        node_id = check_auth(body, greetings(True).keys.bind)
    except (CryptoError, Malformed):
        return
    require(node_id == CLIENT_NODE.node_id, "an AUTH was forged")


def _auth_seeds() -> Iterable[bytes]:
    good = make_auth(CLIENT_NODE, greetings(True).keys.bind)
    return good, good + b"\1", make_auth(NODE, b"another link")


TARGETS: Final = (
    Target("link-hello", _run_hello, _hello_seeds, longest=700),
    Target("link-reply", _run_reply, _reply_seeds, longest=700),
    Target("link-auth", _run_auth, _auth_seeds, longest=1024),
)
