"""Two identities at the same time, then a third: isolation.py POOL_URL URL"""

import sys

import treq
from twisted.internet.task import react

from torpydo.client import Client


async def main(reactor, pool, url):
    client = await Client.create(reactor, [pool], state_dir=None)
    try:
        for name in ("alice", "bob"):
            # Nothing of alice's ever shares a circuit, or a kept-alive connection, with bob's.
            await treq.content(await treq.get(url, agent=client.web_agent(isolation=name)))
        client.new_identity()
        await treq.content(await treq.get(url, agent=client.web_agent(isolation="alice")))
        for circuit in client.status().circuits:
            print("spare" if circuit.clean else "used ", " -> ".join(circuit.path))
    finally:
        await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
