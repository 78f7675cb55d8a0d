"""The DHT on circuits: a node's part in it, and a client's way to it."""

from torpydo.apps.dht.clientdht import ClientDHT
from torpydo.apps.dht.nodedht import NodeDHT

__all__ = ["ClientDHT", "NodeDHT"]
