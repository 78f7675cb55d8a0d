"""Programs that find each other and say hello: peers.py POOL_URL DIRECTORY [NAME.torpydo ...]

DIRECTORY keeps this one's name and those whom it has met. The first one needs no names; another one gives some of
those that are there, and none any more when it is started again.
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from torpydo.apps.peers import PORT, PeerTable, State
from torpydo.client import Client

HELLO = 80


class Hello(LineOnlyReceiver):
    """A line each way is all that is said."""

    def lineReceived(self, line):
        print("heard", line.decode("ascii", "replace"), flush=True)


async def main(reactor, pool, directory, *names):
    client = await Client.create(reactor, [pool], state_dir=os.path.join(directory, "client"))
    service = client.host_onion_service(
        [(HELLO, Factory.forProtocol(Hello))], key_file=os.path.join(directory, "hello.key")
    )
    peers = PeerTable(
        client, reactor, "hello", key=service.private_key, names=names, state_dir=os.path.join(directory, "peers")
    )

    async def changed(change):
        peer = change.peer
        if peer.state is change.before:
            return
        print(peer.state.value, peer.name, flush=True)
        if peer.state is not State.ONLINE:
            return
        try:
            hello = await connectProtocol(client.endpoint(peer.name, HELLO), Hello())
        except ConnectError as error:
            print("not connected:", error, flush=True)
        else:
            hello.sendLine(f"hello from {service.name}".encode())
            hello.transport.loseConnection()

    def stop():
        peers.stop()
        return client.close()

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    await client.onion_endpoint(PORT, private_key=service.private_key).listen(peers.factory)
    print("I am", service.name, flush=True)
    peers.watch(changed)
    peers.start()
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
