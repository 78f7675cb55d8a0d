"""Who takes part in the DHT, as the listings say. For nodes and clients."""

from __future__ import annotations

from heapq import nsmallest

from torpydo.dht import WIDTH, Contact, place_of
from torpydo.directory import NetDir, Services

__all__ = ["Participants"]

_PREFIXES = {4: 3, 16: 6}
"""Bytes that addresses of one operator are taken to have in common: an IPv4 /24, an IPv6 /48 (SECURITY K3)."""


class Participants:
    """Those that offer it. A node's own word is checked when it is first used, as everywhere.

    :ivar own: this node's id, which is no contact of its own; empty for a client
    """

    def __init__(self, own: bytes = b"") -> None:
        self.own = own
        self._contacts: dict[bytes, Contact] = {}

    def __len__(self) -> int:
        return len(self._contacts)

    def network_changed(self, netdir: NetDir) -> bool:
        """The listings say something new; tells whether somebody takes part who did not before."""
        before = self._contacts
        self._contacts = {
            raw_id: self._known(raw_id, _network(body.ip, netdir.test_network))
            for raw_id, node in netdir.nodes.listed.items()
            if (body := node.best.body).services & Services.DHT
        }
        return any(raw_id not in before for raw_id in self._contacts)

    def _known(self, raw_id: bytes, network: bytes) -> Contact:
        """The contact of before, unless the node has moved."""
        known = self._contacts.get(raw_id)
        if known is None or known.network != network:
            return Contact(raw_id, place_of(raw_id), network)
        return known

    def contact(self, raw_id: bytes) -> Contact | None:
        """A node by its id; ``None`` if it takes no part, or is this one."""
        return None if raw_id == self.own else self._contacts.get(raw_id)

    def closest(self, target: bytes, count: int = WIDTH) -> list[Contact]:
        """Those that are closest to *target*, the closest first."""
        number = int.from_bytes(target, "big")
        others = (contact for contact in self._contacts.values() if contact.node_id != self.own)
        return nsmallest(count, others, key=lambda contact: contact.number ^ number)


def _network(ip: bytes, test_network: bool) -> bytes:
    # All nodes of a test network have one address.
    return b"" if test_network else ip[: _PREFIXES[len(ip)]]
