"""The HTTP proxy: CONNECT and absolute-form requests on the public client API."""

from torpydo.apps.httpproxy.server import HTTPProxyFactory

__all__ = ["HTTPProxyFactory"]
