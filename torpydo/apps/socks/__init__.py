"""The SOCKS proxy: versions 5, 4a and 4 on the public client API."""

from torpydo.apps.socks.server import SocksFactory

__all__ = ["SocksFactory"]
