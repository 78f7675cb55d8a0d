"""Onion services on the public client API: hosting them, and connecting to them."""

from torpydo.apps.onionservice.connector import OnionConnector
from torpydo.apps.onionservice.forwarding import OnionAddress
from torpydo.apps.onionservice.hosting import HostedService, OnionEndpoint
from torpydo.apps.onionservice.onions import Onions, PortSpec, parse_port, read_port
from torpydo.apps.onionservice.points import PointLife
from torpydo.apps.onionservice.service import OnionService, ServiceLimits
from torpydo.apps.onionservice.store import DescriptorStore

__all__ = [
    "DescriptorStore",
    "HostedService",
    "OnionAddress",
    "OnionConnector",
    "OnionEndpoint",
    "OnionService",
    "Onions",
    "PointLife",
    "PortSpec",
    "ServiceLimits",
    "parse_port",
    "read_port",
]
