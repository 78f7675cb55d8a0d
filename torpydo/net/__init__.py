"""Thin Twisted adapters that decide nothing: links, fetches, listings, and the state directory."""

from torpydo.net.fetch import Fetched, fetch
from torpydo.net.state import StateDirectory

__all__ = [
    "Fetched",
    "StateDirectory",
    "fetch",
]
