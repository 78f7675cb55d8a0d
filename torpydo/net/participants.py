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
        self._stamps: dict[bytes, bytes] = {}
        """Of each the stamp that its place is made of."""

    def __len__(self) -> int:
        return len(self._contacts)

    def network_changed(self, netdir: NetDir) -> bool:
        """The listings say something new; tells whether somebody takes part who did not before, or not there."""
        before, stamps = self._contacts, self._stamps
        self._contacts, self._stamps = {}, {}
        for raw_id, node in netdir.nodes.listed.items():
            body, stamp = node.best.body, node.stamp
            # Whether a stamp holds is not looked at here: the pools have done the work, and their signatures say so.
            if stamp is None or not body.services & Services.DHT:
                continue
            known, network = before.get(raw_id), _network(body.ip, netdir.test_network)
            if known is None or (stamps[raw_id], known.network) != (stamp, network):
                known = Contact(raw_id, place_of(raw_id, stamp), network)
            self._contacts[raw_id], self._stamps[raw_id] = known, stamp
        return any(stamps.get(raw_id) != stamp for raw_id, stamp in self._stamps.items())

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
