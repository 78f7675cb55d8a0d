"""What Twisted finds: three twistd commands and the client endpoint string ``torpydo:``. No code belongs here."""

from twisted.application.service import ServiceMaker

from torpydo.client import TorpydoStringParser

pool = ServiceMaker("torpydo pool index", "torpydo.taps.pool", "List the nodes of an onion network.", "torpydo-pool")
node = ServiceMaker("torpydo node", "torpydo.taps.node", "Relay circuits of an onion network.", "torpydo-node")
client = ServiceMaker(
    "torpydo client", "torpydo.taps.client", "SOCKS and HTTP proxies into an onion network.", "torpydo-client"
)
client_endpoint = TorpydoStringParser()
