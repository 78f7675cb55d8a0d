"""What Twisted finds: four twistd commands, and the endpoint strings ``torpydo:`` and ``torpydo-service:``.

No code belongs here.
"""

from twisted.application.service import ServiceMaker

from torpydo.client import SharedClients, TorpydoServiceStringParser, TorpydoStringParser

pool = ServiceMaker("torpydo pool index", "torpydo.taps.pool", "List the nodes of an onion network.", "torpydo-pool")
node = ServiceMaker("torpydo node", "torpydo.taps.node", "Relay circuits of an onion network.", "torpydo-node")
client = ServiceMaker(
    "torpydo client", "torpydo.taps.client", "SOCKS and HTTP proxies into an onion network.", "torpydo-client"
)
service = ServiceMaker(
    "torpydo onion service", "torpydo.taps.service", "Let a local program be an onion service.", "torpydo-service"
)
_clients = SharedClients()
client_endpoint = TorpydoStringParser(_clients)
service_endpoint = TorpydoServiceStringParser(_clients)
