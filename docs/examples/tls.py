"""Speak TLS to a host through the network: tls.py POOL_URL HOST PORT"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import react

from torpydo.client import Client


class Head(Protocol):
    """Asks for a page's head and keeps the first line of the answer."""

    def __init__(self, host):
        self.host = host
        self.line = Deferred()

    def connectionMade(self):
        self.transport.write(b"HEAD / HTTP/1.0\r\nHost: " + self.host.encode() + b"\r\n\r\n")

    def dataReceived(self, data):
        if not self.line.called:
            self.line.callback(data.partition(b"\r\n")[0])


async def main(reactor, pool, host, port):
    client = await Client.create(reactor, [pool], state_dir=None)
    try:
        endpoint = wrapClientTLS(optionsForClientTLS(host), client.endpoint(host, int(port)))
        print((await (await connectProtocol(endpoint, Head(host))).line).decode())
    finally:
        await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
