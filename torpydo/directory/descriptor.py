"""Descriptors: what a node says of itself, signed (docs/protocol-directory, section Descriptor).

A document is signature(64) ‖ body; the signature is over the body exactly as it came, nothing is ever
encoded again to check it. Reading has two steps, because checking keys and signatures takes a hundred
times longer than decoding: :func:`decode_body` is cheap and checks the form, :func:`open_descriptor`
checks the signature, the keys and the rest. Only what was opened may be used.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated, Final, Literal

import attrs
import msgspec

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, STAMP_SIZE, DHPublicKey, NodeId, Purpose, SigningKey
from torpydo.directory.policy import MAX_TEXT, ExitPolicy
from torpydo.errors import BadKey, BadSignature, ConfigurationError, DescriptorError, LocalProtocolError
from torpydo.tpdp import Address

__all__ = [
    "MAX_AGE",
    "MAX_DESCRIPTOR",
    "REPUBLISH_AFTER",
    "Descriptor",
    "DescriptorBody",
    "Services",
    "check_descriptor_times",
    "decode_body",
    "open_descriptor",
    "parse_descriptor",
    "sign_descriptor",
    "times_fit",
]

MAX_DESCRIPTOR: Final = 20_000
"""Bytes of a document (tor's MAX_DESCRIPTOR_UPLOAD_SIZE)."""
MAX_AGE: Final = 48 * 3600
"""Seconds after which a descriptor is not used any more (tor's ROUTER_MAX_AGE)."""
REPUBLISH_AFTER: Final = 18 * 3600
"""Seconds after which a node signs a new descriptor although nothing changed."""
MAX_AHEAD: Final = 12 * 3600
"""Seconds that a descriptor may be from the future: clocks of nodes are off."""
MAX_FAMILY: Final = 32
"""Nodes in a family: each costs a key check when the descriptor is opened."""

_FORMAT: Final = 1
_MAX_BANDWIDTH: Final = 10**12
_MAX_TIME: Final = 2**43  # seconds; keeps every sum within 64 bits
_MAX_SEQUENCE: Final = 2**53

_Version = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


class Services(IntFlag):
    """What a node does beside relaying. Bits that are not known here mean something to others."""

    NONE = 0
    ONION = 1
    """It is an introduction point and a rendezvous for whoever asks."""
    DHT = 2
    """It takes part in the distributed hash table."""


class DescriptorBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The body as it is encoded: a MessagePack array in this order. Later versions append; a reader skips that."""

    format: Literal[1]
    node_id: _Key
    onion_keys: Annotated[tuple[_Key, ...], msgspec.Meta(min_length=1, max_length=2)]
    ip: Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    exit_policy: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    family: Annotated[tuple[_Key, ...], msgspec.Meta(max_length=MAX_FAMILY)]
    nickname: Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[A-Za-z0-9._-]*\Z")]
    bandwidth: Annotated[int, msgspec.Meta(ge=0, le=_MAX_BANDWIDTH)]
    version: Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[A-Za-z0-9.+_-]*\Z")]
    protocols: Annotated[tuple[_Version, ...], msgspec.Meta(min_length=1, max_length=8)]
    sequence: Annotated[int, msgspec.Meta(ge=1, le=_MAX_SEQUENCE)]
    published: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TIME)]
    services: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    stamp: Annotated[bytes, msgspec.Meta(max_length=STAMP_SIZE)] = b""


@attrs.frozen
class Descriptor:
    """What a node says of itself.

    :ivar node_id: its identity
    :ivar onion_keys: the current onion key, then the previous one while it is still accepted
    :ivar address: where it listens
    :ivar exit_policy: which destinations it opens
    :ivar family: nodes of the same operator; it counts only where the other names this node too
    :ivar nickname: for people; proves nothing
    :ivar bandwidth: what it claims to carry, bytes a second
    :ivar version: of its software
    :ivar protocols: the TPDP versions that it speaks, ascending
    :ivar sequence: rises with each descriptor of the node; milliseconds when it was signed
    :ivar published: seconds when it was signed
    :ivar services: what it does beside relaying
    :ivar stamp: the work for its identity (``crypto.stamp``), empty for none; only pools see whether it holds
    """

    node_id: NodeId
    onion_keys: tuple[DHPublicKey, ...]
    address: Address
    exit_policy: ExitPolicy
    family: frozenset[NodeId]
    nickname: str
    bandwidth: int
    version: str
    protocols: tuple[int, ...]
    sequence: int
    published: int
    services: Services = Services.NONE
    stamp: bytes = b""

    @property
    def name(self) -> str:
        """What a person calls the node: its nickname, or the beginning of its id."""
        return self.nickname or self.node_id.short


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(DescriptorBody)


def sign_descriptor(descriptor: Descriptor, key: SigningKey) -> bytes:
    """The signed document of *descriptor*.

    :raises DescriptorError: if it breaks a limit, so that others would refuse it
    :raises LocalProtocolError: if *key* is not that of the descriptor's node
    """
    if key.public != descriptor.node_id.raw:
        raise LocalProtocolError("a descriptor is signed with the key of its own node")
    body = _encoder.encode(
        DescriptorBody(
            format=_FORMAT,
            node_id=descriptor.node_id.raw,
            onion_keys=tuple(onion_key.raw for onion_key in descriptor.onion_keys),
            ip=descriptor.address.ip,
            port=descriptor.address.port,
            exit_policy=str(descriptor.exit_policy),
            family=tuple(sorted(node_id.raw for node_id in descriptor.family)),
            nickname=descriptor.nickname,
            bandwidth=descriptor.bandwidth,
            version=descriptor.version,
            protocols=descriptor.protocols,
            sequence=descriptor.sequence,
            published=descriptor.published,
            services=descriptor.services,
            stamp=descriptor.stamp,
        )
    )
    document = key.sign(Purpose.DESCRIPTOR, body) + body
    parse_descriptor(document)
    return document


def decode_body(document: bytes) -> DescriptorBody:
    """Decode a document's body and check its form, not its signature.

    :raises DescriptorError: if the form is wrong
    """
    if len(document) > MAX_DESCRIPTOR:
        raise DescriptorError(f"a descriptor has at most {MAX_DESCRIPTOR} bytes, not {len(document)}")
    try:
        # ValueError is msgspec's DecodeError and the UnicodeDecodeError that it lets through.
        body = _decoder.decode(memoryview(document)[SIGNATURE_SIZE:])
    except (ValueError, RecursionError):
        raise DescriptorError("a descriptor is malformed, or of a format this version does not know") from None
    if len(body.ip) not in (4, 16):
        raise DescriptorError("a descriptor's IP address has neither 4 nor 16 bytes")
    if len(body.stamp) not in (0, STAMP_SIZE):
        raise DescriptorError(f"a descriptor's stamp has neither 0 nor {STAMP_SIZE} bytes")
    return body


def open_descriptor(document: bytes, body: DescriptorBody) -> Descriptor:
    """Check everything that :func:`decode_body` did not.

    :param body: what :func:`decode_body` made of *document*
    :raises DescriptorError: if the signature or a field is wrong
    """
    try:
        node_id = NodeId(body.node_id)
        node_id.verify(Purpose.DESCRIPTOR, document[SIGNATURE_SIZE:], document[:SIGNATURE_SIZE])
        family = frozenset(map(NodeId, body.family))
    except (BadKey, BadSignature) as error:
        raise DescriptorError(f"a descriptor was refused: {error}") from None
    try:
        exit_policy = ExitPolicy.parse(body.exit_policy)
    except ConfigurationError:
        raise DescriptorError(f"the descriptor of {node_id.short} has a bad exit policy") from None
    canonical = str(exit_policy), tuple(sorted(set(body.family))), tuple(sorted(set(body.protocols)))
    if canonical != (body.exit_policy, body.family, body.protocols):
        raise DescriptorError(f"the descriptor of {node_id.short} has a field that is not in its one canonical form")
    return Descriptor(
        node_id=node_id,
        onion_keys=tuple(map(DHPublicKey, body.onion_keys)),
        address=Address(body.ip, body.port),
        exit_policy=exit_policy,
        family=family,
        nickname=body.nickname,
        bandwidth=body.bandwidth,
        version=body.version,
        protocols=body.protocols,
        sequence=body.sequence,
        published=body.published,
        services=Services(body.services),
        stamp=body.stamp,
    )


def parse_descriptor(document: bytes) -> Descriptor:
    """Read a document that came from outside and check all but its times.

    :raises DescriptorError: if anything about it is wrong
    """
    return open_descriptor(document, decode_body(document))


def times_fit(descriptor: Descriptor | DescriptorBody, now: float) -> bool:
    """Whether a descriptor is neither too old nor from the future (SECURITY N4)."""
    latest = now + MAX_AHEAD
    return now - MAX_AGE <= descriptor.published <= latest and descriptor.sequence <= latest * 1000


def check_descriptor_times(descriptor: Descriptor, now: float) -> None:
    """Refuse a descriptor that is too old or from the future (SECURITY N4).

    :param now: seconds since the epoch
    :raises DescriptorError: naming how far off it is
    """
    if times_fit(descriptor, now):
        return
    ahead = max(descriptor.published, descriptor.sequence // 1000) - now
    off = f"{ahead / 3600:.0f} h in the future" if ahead > 0 else f"{(now - descriptor.published) / 3600:.0f} h old"
    raise DescriptorError(f"the descriptor of {descriptor.name} is {off}; check its clock and that of this machine")
