"""Entry points of onion services and of the DHT: names, descriptors, introductions, proofs, items, questions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torpydo.crypto import DHSecretKey, Purpose, Secret, SigningKey
from torpydo.dht import (
    Find,
    Found,
    Item,
    Put,
    PutAnswer,
    Storage,
    Verdict,
    decode_question,
    frame,
    take_frame,
)
from torpydo.errors import BadSignature, CryptoError, OnionNameError, RemoteProtocolError, ServiceNotFound
from torpydo.onion import (
    Introduced,
    IntroductionPoint,
    Meeting,
    OnionName,
    ServiceDescriptor,
    is_onion,
    open_descriptor,
    proves,
    seal_descriptor,
)
from torpydo.testing.fuzz.fixed import NODE, ONION, fixed_rng
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp.conversations import (
    SIZES,
    Introduce1,
    Introduce2,
    Proof,
    decode_establish_intro,
    encode_establish_intro,
)
from torpydo.tpdp.handshake import ClientHandshake, Proto
from torpydo.tpdp.messages import Type
from torpydo.wire import Malformed, Reader

__all__ = ["TARGETS"]

SERVICE: Final = SigningKey(Secret(b"s" * 32))
NAME: Final = OnionName.of(SERVICE)
PERIOD: Final = 20_778
BLINDED: Final = NAME.blinded(PERIOD)
BIND: Final = b"b" * 32
NOW: Final = 1_700_000_000
_EPHEMERAL: Final = DHSecretKey(Secret(b"e" * 32))
_POINT: Final = IntroductionPoint(NODE.node_id, NAME.key, ONION.public, b"p" * 32)
_DOCUMENT: Final = ServiceDescriptor((_POINT,) * 3, 7)
_ITEM: Final = Item.make(SERVICE, SERVICE.public, b"salt", 5, NOW + 3600, b"value")


def _run_name(data: bytes) -> None:
    """The name of a service, as a user types it."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        name = OnionName.parse(text)
    except OnionNameError:
        return
    require(is_onion(text), "a name that nobody would take for one")
    require(OnionName.parse(str(name)) == name, "a name is read as another one")


def _run_descriptor(data: bytes) -> None:
    """A service's descriptor: its body, or all of it."""
    whole, rest = data[:1] == b"\1", data[1:]
    try:
        if whole:
            open_descriptor(rest, NAME, BLINDED, 1)
        else:
            found = ServiceDescriptor.decode(rest)
            require(found.encode().ljust(len(rest), b"\0") == rest, "a descriptor is read as another one")
    except (Malformed, ServiceNotFound):
        return


def _descriptor_seeds() -> Iterable[bytes]:
    yield b"\0" + _DOCUMENT.encode()
    yield b"\1" + seal_descriptor(_DOCUMENT, NAME, BLINDED, 1, rng=fixed_rng(b"descriptor"))


def _run_introduction(data: bytes) -> None:
    """What an introduction point hands to a service: as it is, or sealed options."""
    sealed, message = data[:1] == b"\1", data[1:513].ljust(512, b"\0")
    if sealed:
        options = message[:464]
        message = ClientHandshake.start(Proto.SERVICE, SERVICE.node_id, ONION.public, _EPHEMERAL, options).message
    try:
        introduced = Introduced.open(NAME, ONION, message)
    except (CryptoError, RemoteProtocolError):
        return
    meeting = introduced.meeting
    require(Meeting.decode(meeting.encode()) == meeting, "an introduction is read as another one")
    require(len(introduced.answer(_EPHEMERAL)[1]) == 512, "the answer has not the one size")


def _run_introduce(data: bytes) -> None:
    """What a client says to an introduction point, and what that says to the service: of the one size each."""
    size = SIZES[Type.INTRODUCE1]
    first = data[:size].ljust(size, b"\0")
    asked = Introduce1.decode(first)
    require(asked.encode() == first, "an INTRODUCE1 is read as another one")
    if asked.proof.effort < 2:
        require(proves(bytes(32), asked.message, asked.proof), "no effort is not proven")
    size = SIZES[Type.INTRODUCE2]
    second = data[:size].ljust(size, b"\0")
    require(Introduce2.decode(second).encode() == second, "an INTRODUCE2 is read as another one")


def _introduce_seeds() -> Iterable[bytes]:
    yield Introduce1(SERVICE.public, Proof(9, b"n" * 16), b"m" * 512).encode()
    yield Introduce2(Proof(1, b"n" * 16), 10, b"m" * 512).encode()


def _run_proof(data: bytes) -> None:
    """A service's proof that it has the key of an introduction point."""
    try:
        key = decode_establish_intro(data[:96].ljust(96, b"\0"), BIND)
    except (CryptoError, RemoteProtocolError):
        return
    key.verify(Purpose.INTRODUCTION, BIND, data[32:96])


def _run_item(data: bytes) -> None:
    """An item, and what a holder makes of it."""
    try:
        item = Item.read(Reader(data))
    except Malformed:
        return
    require(item.encode() == data, "an item is read as another one")
    storage = Storage()
    verdict = storage.put(item, b"source", 0.0, NOW)
    require((verdict is Verdict.STORED) == (len(storage) == 1), f"{verdict} and {len(storage)} items")
    if verdict is Verdict.STORED:
        try:
            item.check()
        except BadSignature:
            require(False, "an item was stored that nobody has signed")


def _run_question(data: bytes) -> None:
    """A question or an answer of the DHT, each by whoever reads it."""
    for decode in (decode_question, Found.decode, PutAnswer.decode):
        try:
            found = decode(data)
        except Malformed:
            continue
        require(found.encode() == data, "a message is read as another one")


def _run_frames(data: bytes) -> None:
    """Messages on a stream, in two reads."""
    where = data[0] if data else 0
    found: list[bytes] = []
    buffer = bytearray()
    for part in (data[1 : 1 + where], data[1 + where :]):
        buffer += part
        try:
            while (message := take_frame(buffer)) is not None:
                found.append(message)
        except Malformed:
            return
    require(b"".join(map(frame, found)) + bytes(buffer) == data[1:], "bytes were lost between messages")


def _question_seeds() -> Iterable[bytes]:
    yield Find(bytes(32), True).encode()
    yield Put(_ITEM).encode()
    yield Found((NODE.node_id.raw,) * 3, _ITEM).encode()
    yield PutAnswer(Verdict.STORED).encode()


TARGETS: Final = (
    Target("text-onion-name", _run_name, lambda: [str(NAME).encode(), b"www." + str(NAME).encode()]),
    Target("onion-descriptor", _run_descriptor, _descriptor_seeds),
    Target(
        "onion-introduction",
        _run_introduction,
        lambda: [b"\1" + Meeting(NODE.node_id, b"c" * 20).encode().rstrip(b"\0")],
    ),
    Target("onion-introduce", _run_introduce, _introduce_seeds),
    Target("onion-proof", _run_proof, lambda: [encode_establish_intro(SERVICE, BIND)]),
    Target("dht-item", _run_item, lambda: [_ITEM.encode()]),
    Target("dht-question", _run_question, _question_seeds),
    Target("dht-frames", _run_frames, lambda: [b"\x09" + frame(b"one") + frame(Find(bytes(32)).encode())]),
)
