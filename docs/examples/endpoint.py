"""Send a line through the network and print what comes back: endpoint.py POOL_URL HOST PORT LINE"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

from torpydo.client import Client


class Answer(Protocol):
    """Collects what comes until the other side closes."""

    def __init__(self):
        self.data = b""
        self.done = Deferred()

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.done.callback(self.data)


async def main(reactor, pool, host, port, line):
    client = await Client.create(reactor, [pool], state_dir=None)
    try:
        answer = await connectProtocol(client.endpoint(host, int(port)), Answer())
        answer.transport.write(line.encode() + b"\r\n")
        print((await answer.done).decode(errors="replace"))
    finally:
        await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
