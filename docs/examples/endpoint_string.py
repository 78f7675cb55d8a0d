"""Fetch a page with nothing but an endpoint string: endpoint_string.py POOL_URL HOST PORT"""

import sys

from twisted.internet.endpoints import clientFromString, quoteStringArgument
from twisted.internet.task import react
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


@implementer(IAgentEndpointFactory)
class Through:
    """Makes every request's endpoint from a string."""

    def __init__(self, reactor, pool):
        self.reactor = reactor
        self.pool = quoteStringArgument(pool)

    def endpointForURI(self, uri):
        return clientFromString(self.reactor, f"torpydo:{uri.host.decode()}:{uri.port}:pool={self.pool}")


async def main(reactor, pool, host, port):
    agent = Agent.usingEndpointFactory(reactor, Through(reactor, pool))
    response = await agent.request(b"GET", f"http://{host}:{port}/".encode())
    print(response.code, len(await readBody(response)), "bytes")


if __name__ == "__main__":
    react(main, sys.argv[1:])
