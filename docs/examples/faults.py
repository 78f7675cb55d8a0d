"""What a program sees when a server breaks off, between real processes: faults.py POOL_URL HOST PORT LINE"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

from torpydo.client import Client
from torpydo.testing import FaultProxy, Reset


class Answer(Protocol):
    """Collects what comes until the other side closes, or breaks off."""

    def __init__(self):
        self.data = b""
        self.done = Deferred()

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.done.callback(f"{len(self.data)} bytes, {reason.type.__name__}")


async def main(reactor, pool, host, port, line):
    listen = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    proxy = FaultProxy(reactor, listen, TCP4ClientEndpoint(reactor, host, int(port)))
    address = await proxy.start()
    client = await Client.create(reactor, [pool], state_dir=None)
    try:
        for faults in ([Reset(after=10)], []):
            proxy.set(to_source=faults)
            answer = await connectProtocol(client.endpoint(address.host, address.port), Answer())
            answer.transport.write(line.encode() + b"\r\n\r\n")
            print(await answer.done, f"({proxy.done[Reset]} resets)")
    finally:
        await client.close()
        await proxy.stop()


if __name__ == "__main__":
    react(main, sys.argv[1:])
