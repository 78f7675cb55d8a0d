"""Onion services as a program uses them: a client hosts, another one connects, through real nodes and the DHT."""

from __future__ import annotations

from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory

from tests.network.base import Echo, NetworkTestCase
from tests.testing.recorders import Recorder
from torpydo.apps.onionservice import HostedService
from torpydo.client import Client
from torpydo.onion import Secret, SigningKey

KEY = SigningKey(Secret(b"k" * 32))


class OnionTests(NetworkTestCase):
    """One client is the host, another the visitor."""

    def setUp(self) -> None:
        super().setUp()
        self.start(nodes=6, dht=True)
        self.network.advance(10)
        self.host = self.network.client
        self.visitor = self.network.success(self.network.add_client())

    def create(self, *ports: object, key: SigningKey | None = KEY) -> HostedService:
        """A service of the host that can be found."""
        service: HostedService = self.network.success(self.host.create_onion_service(ports, private_key=key))
        return service

    def visit(self, name: str, port: int = 80, client: Client | None = None) -> Recorder:
        """A stream of the visitor to a service."""
        endpoint = (client or self.visitor).endpoint(name, port)
        return self.network.success(connectProtocol(endpoint, Recorder()))

    def test_a_factory(self) -> None:
        """What the visitor says comes to the factory's protocol, and its answer back."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.assertEqual(service.ports, (80,))
        visitor = self.visit(service.name)
        visitor.transport.write(b"hello")
        self.network.advance(1)
        self.assertEqual(visitor.data, b"hello")
