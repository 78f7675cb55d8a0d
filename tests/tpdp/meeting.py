"""A joined circuit in memory: two chains whose last nodes are one, the rendezvous node."""

from __future__ import annotations

from tests.tpdp.chain import Chain
from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.tpdp.events import Said
from torpydo.tpdp.handshake import ClientHandshake, HandshakeKeys, Proto, respond
from torpydo.tpdp.messages import Type

COOKIE = bytes(range(20))
SERVICE = SigningKey(b"s" * 32)
SERVICE_KEY = DHSecretKey(b"d" * 32)


def handshake(seed: int = 1) -> tuple[HandshakeKeys, HandshakeKeys, bytes]:
    """The keys of both ends, the client's first, and the service's answer."""
    ephemeral = [DHSecretKey(bytes([seed, number]) * 16) for number in (1, 2)]
    client = ClientHandshake.start(
        Proto.SERVICE, SERVICE.node_id, SERVICE_KEY.public, ephemeral[0], bytes(464)
    )
    keys, reply, _ = respond(
        Proto.SERVICE, SERVICE.node_id, SERVICE_KEY, ephemeral[1], client.message, bytes(464)
    )
    return client.finish(reply)[0], keys, reply


class Meeting:
    """A client's chain and a service's.

    :param client: hops of the client's
    :param service: hops of the service's
    """

    def __init__(self, client: int = 3, service: int = 4, *, seed: int = 0, join: bool = True) -> None:
        self.client, self.service = Chain(client, seed=seed), Chain(service, seed=seed + 1)
        for chain in (self.client, self.service):
            chain.take_origin()
            # Where the last node puts what it passes on.
            chain.forward.append([])
        if join:
            self.join()

    def join(self) -> None:
        """Do what both builders and the rendezvous node do."""
        client, service = self.client, self.service
        mine, theirs, reply = handshake()
        client.origin.end.say(Type.ESTABLISH_RENDEZVOUS, COOKIE)
        client.pump()
        assert client.take_exit() == [Said(Type.ESTABLISH_RENDEZVOUS, COOKIE)]
        client.exit.end.say(Type.RENDEZVOUS_ESTABLISHED, b"")
        client.pump()
        assert client.take_origin() == [Said(Type.RENDEZVOUS_ESTABLISHED, b"")]
        service.origin.end.say(Type.RENDEZVOUS1, COOKIE + reply)
        service.pump()
        assert service.take_exit() == [Said(Type.RENDEZVOUS1, COOKIE + reply)]
        client.exit.end.say(Type.RENDEZVOUS2, reply)
        for chain in (client, service):
            chain.exit.join()
            chain.pump()
        assert client.take_origin() == [Said(Type.RENDEZVOUS2, reply)]
        client.origin, service.origin = client.origin.join_as_client(mine), service.origin.join_as_service(theirs)

    def cross(self) -> bool:
        """The rendezvous node puts what one side passes on on the other one's way back."""
        moved = False
        for chain, other in ((self.client, self.service), (self.service, self.client)):
            cells, chain.forward[-1] = chain.forward[-1], []
            if cells:
                other.backward[len(other.transits) - 1] += other.exit.receive_backward(cells)
                moved = True
        return moved

    def pump(self) -> None:
        """Move everything until nothing moves any more."""
        moved = True
        while moved:
            for chain in (self.client, self.service):
                chain.pump()
            moved = self.cross()
