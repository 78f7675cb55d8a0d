"""Thin Twisted adapters that decide nothing: links, streams, fetches, listings, and the state directory."""

from torpydo.net.buckets import Buckets, host_key
from torpydo.net.collector import settle_collector
from torpydo.net.console import ConsoleObserver, is_loopback_host
from torpydo.net.fetch import Fetched, fetch
from torpydo.net.links import LinkFactory, LinkOwner, LinkProtocol, connect_link, link_endpoint, probe_link
from torpydo.net.listings import ListingRefresh
from torpydo.net.slices import Later, Slices
from torpydo.net.state import StateDirectory
from torpydo.net.streams import StreamTransport
from torpydo.net.turn import Turn
from torpydo.net.waiting import Holder, Waiting

__all__ = [
    "Buckets",
    "ConsoleObserver",
    "Fetched",
    "Holder",
    "Later",
    "LinkFactory",
    "LinkOwner",
    "LinkProtocol",
    "ListingRefresh",
    "Slices",
    "StateDirectory",
    "StreamTransport",
    "Turn",
    "Waiting",
    "connect_link",
    "fetch",
    "host_key",
    "is_loopback_host",
    "link_endpoint",
    "probe_link",
    "settle_collector",
]
