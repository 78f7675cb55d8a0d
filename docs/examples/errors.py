"""What can go wrong, by name: errors.py POOL_URL HOST PORT"""

import sys

from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

from torpydo import errors
from torpydo.client import Client


async def main(reactor, pool, host, port):
    try:
        client = await Client.create(reactor, [pool], state_dir=None)
    except errors.TorpydoError as error:
        print(f"no client: {error}")
        raise SystemExit(error.exit_status) from None
    try:
        await connectProtocol(client.endpoint(host, int(port)), Protocol())
        print("connected")
    except errors.ExitPolicyRefused as error:
        print(f"no exit wants to connect there: {error}")
    except errors.CircuitBuildError as error:
        print(f"hop {error.hop} of {error.hops}, node {error.node}, failed: {error.why}")
    except ConnectError as error:  # all of the above are this too
        print(f"not connected: {error}")
    finally:
        await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
