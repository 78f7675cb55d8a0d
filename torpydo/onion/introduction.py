"""Introductions: what a client has an introduction point hand to a service (docs/protocol-onion, Introduction).

It is the first message of the handshake between the two (``Proto.SERVICE``); its options say where the client waits.
Whoever has the key of that introduction point can read it later: it has no forward secrecy, as in every such protocol.
What goes through the streams has.
"""

from __future__ import annotations

from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE, DHPublicKey, DHSecretKey, NodeId, Secret
from torpydo.errors import BadKey
from torpydo.onion.names import OnionName
from torpydo.tpdp import (
    COOKIE_SIZE,
    OPTION_VERSIONS,
    PROTOCOL_VERSION,
    ClientHandshake,
    HandshakeKeys,
    Proto,
    answer,
    decode_options,
    encode_options,
    open_hello,
)
from torpydo.wire import Malformed, NeedMore, Reader

__all__ = ["Introduced", "Introduction", "Meeting"]

OPTION_MEETING: Final = 16
"""Cookie ‖ node id of the rendezvous node."""
VERSION: Final = bytes((PROTOCOL_VERSION,))


@attrs.frozen
class Meeting:
    """Where a client waits.

    :ivar node_id: of the rendezvous node. A service goes to nodes of its listing only: a client could send it anywhere
    :ivar cookie: 20 bytes by which it knows the client
    """

    node_id: NodeId
    cookie: bytes = attrs.field(repr=False)

    def encode(self) -> bytes:
        """The 464 bytes of options."""
        return encode_options({OPTION_VERSIONS: VERSION, OPTION_MEETING: self.cookie + self.node_id.raw})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the options.

        :raises Malformed: if they are not these
        """
        options = decode_options(data)
        if PROTOCOL_VERSION not in options.get(OPTION_VERSIONS, b""):
            raise Malformed("no version in common")
        where = Reader(options.get(OPTION_MEETING, b""))
        try:
            cookie, node_id = where.take(COOKIE_SIZE), NodeId(where.take(KEY_SIZE))
        except NeedMore:
            raise Malformed("an introduction is too short") from None
        except BadKey:
            raise Malformed("a rendezvous node whose id is no key") from None
        where.finish()
        return cls(node_id, cookie)


@attrs.frozen
class Introduction:
    """The client's side.

    :ivar message: for INTRODUCE1, after the key of the introduction point
    """

    _handshake: ClientHandshake

    @classmethod
    def start(cls, name: OnionName, key: DHPublicKey, ephemeral: DHSecretKey, meeting: Meeting) -> Self:
        """Make one.

        :param key: of the introduction point, for this
        :raises BadKey: if *key* is refused
        """
        return cls(ClientHandshake.start(Proto.SERVICE, _identity(name), key, ephemeral, meeting.encode()))

    @property
    def message(self) -> bytes:
        """512 bytes for INTRODUCE1."""
        return self._handshake.message

    def finish(self, reply: bytes) -> HandshakeKeys:
        """Take what RENDEZVOUS2 brought.

        :raises CryptoError: if it is not of that service
        """
        return self._handshake.finish(reply)[0]


@attrs.frozen
class Introduced:
    """The service's side: an introduction that was opened, and not answered yet."""

    meeting: Meeting
    _name: OnionName
    _key: DHSecretKey
    _message: bytes
    _client: DHPublicKey
    _first: Secret

    @classmethod
    def open(cls, name: OnionName, key: DHSecretKey, message: bytes) -> Self:
        """Open what INTRODUCE2 brought.

        :raises CryptoError: if it was not made for this service and key
        :raises Malformed: if it says something else than where the client waits
        """
        client, first, options = open_hello(Proto.SERVICE, _identity(name), key, message)
        return cls(Meeting.decode(options), name, key, message, client, first)

    def answer(self, ephemeral: DHSecretKey) -> tuple[HandshakeKeys, bytes]:
        """The keys, and 512 bytes for RENDEZVOUS1.

        :raises BadKey: if the client's key is refused
        """
        identity, options = _identity(self._name), encode_options({OPTION_VERSIONS: VERSION})
        public = self._key.public
        return answer(Proto.SERVICE, identity, public, ephemeral, self._message, self._client, self._first, options)


def _identity(name: OnionName) -> NodeId:
    return NodeId(name.key.raw)
