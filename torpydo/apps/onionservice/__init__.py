"""Onion services on the public client API: hosting one, and connecting to one."""

from torpydo.apps.onionservice.connector import OnionConnector
from torpydo.apps.onionservice.service import OnionService
from torpydo.apps.onionservice.store import DescriptorStore

__all__ = ["DescriptorStore", "OnionConnector", "OnionService"]
