"""HTTP through circuits: an ``IAgent``, for ``twisted.web`` and treq.

Kept-alive connections are shared only inside one isolation key, and dropped by ``new_identity``: a connection from a
shared pool would join what isolation keeps apart. Called by the client.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

KEEP_ALIVE = 60
"""Seconds that an idle connection to a web server is kept."""
CONNECTIONS_PER_HOST = 6

EndpointFunction = Callable[[str, int, Hashable], IStreamClientEndpoint]
"""Makes an endpoint from host, port and isolation key."""


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """The endpoint for a URL: a stream, with TLS on top for https."""

    def __init__(self, endpoint: EndpointFunction, isolation: Hashable, policy: IPolicyForHTTPS) -> None:
        self._endpoint = endpoint
        self._isolation = isolation
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """An endpoint; the name in *uri* is resolved by nobody here."""
        endpoint = self._endpoint(uri.host.decode("ascii").strip("[]"), uri.port, self._isolation)
        if uri.scheme == b"https":
            return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


class WebConnections:
    """The kept-alive connections of one client, apart by isolation key."""

    def __init__(self, reactor: Any, endpoint: EndpointFunction) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._pools: dict[Hashable, HTTPConnectionPool] = {}

    def agent(self, isolation: Hashable) -> Agent:
        """An agent on the connections that *isolation* has now."""
        pool = self._pools.get(isolation)
        if pool is None:
            pool = self._pools[isolation] = HTTPConnectionPool(self._reactor, persistent=True)
            pool.cachedConnectionTimeout = KEEP_ALIVE
            pool.maxPersistentPerHost = CONNECTIONS_PER_HOST
        endpoints = _Endpoints(self._endpoint, isolation, BrowserLikePolicyForHTTPS())
        agent: Agent = Agent.usingEndpointFactory(self._reactor, endpoints, pool)
        return agent

    def drop(self) -> Deferred[None]:
        """Close what is kept and share nothing of it any more; fires when it is closed."""
        pools, self._pools = self._pools, {}
        closed = [pool.closeCachedConnections() for pool in pools.values()]
        return DeferredList(closed).addCallback(lambda _: None)


@implementer(IAgent)
class CircuitAgent:
    """A ``twisted.web`` agent whose requests go through circuits."""

    def __init__(self, connections: WebConnections, isolation: Hashable) -> None:
        self._connections = connections
        self._isolation = isolation

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request. See ``twisted.web.iweb.IAgent``."""
        return self._connections.agent(self._isolation).request(method, uri, headers, bodyProducer)
