"""All nodes that a pool knows, and the counts that keep looking things up cheap. They are saved a moment later.

It holds; who comes and goes is decided by admission, its only caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
from twisted.logger import Logger

from torpydo.crypto import NodeId
from torpydo.directory import Descriptor, parse_descriptor
from torpydo.errors import DescriptorError
from torpydo.net import host_key
from torpydo.pool.saving import Saving
from torpydo.pool.store import NodeRecord

__all__ = ["ListedNode", "Roster"]

MAX_DOCUMENTS: Final = 15 * 1024 * 1024
"""Bytes of the descriptors that are kept: a listing has to stay below 16 MiB."""


@attrs.define(eq=False)
class ListedNode:
    """A node that was listed at least once.

    :ivar heard_at: when its last heartbeat came, on the clock that never goes back
    :ivar probe_at: when the next probe is due, on that clock
    :ivar failures: probes that failed in a row
    """

    record: NodeRecord
    descriptor: Descriptor
    heard_at: float
    probe_at: float
    failures: int = 0

    def seniority(self) -> tuple[int, bytes]:
        """By this nodes are ordered: the longer a node has been known, the smaller it is."""
        return self.record.first_seen, self.record.node_id.raw


class Roster:
    """The nodes by their ids.

    :param saving: makes them survive a restart
    :param most: how many are kept
    """

    log = Logger()

    def __init__(self, saving: Saving, most: int) -> None:
        self._saving = saving
        self._most = most
        self._nodes: dict[NodeId, ListedNode] = {}
        self._hosts: dict[bytes, set[NodeId]] = {}
        self._documents: dict[bytes, Descriptor] = {}
        self._size = 0

    def stored(self) -> Iterator[tuple[NodeRecord, Descriptor]]:
        """What the last run left. Whoever reads it adds what it keeps.

        :raises StateError: if the store cannot be read
        """
        for record in self._saving.stored():
            try:
                yield record, parse_descriptor(record.document)
            except DescriptorError as error:
                self.log.warn("node {node} is forgotten: {error}", node=record.node_id.short, error=str(error))

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[ListedNode]:
        return iter(list(self._nodes.values()))

    def get(self, node_id: NodeId) -> ListedNode | None:
        """A node, ``None`` if it was never listed."""
        return self._nodes.get(node_id)

    def descriptor_of(self, document: bytes) -> Descriptor | None:
        """The descriptor of a node whose document is this very one: it was checked when it came first."""
        return self._documents.get(document)

    def listed_on(self, ip: bytes, but: NodeId) -> int:
        """How many other nodes are listed on the host of *ip*."""
        there = self._hosts.get(host_key(ip), set())
        return len(there) - (but in there)

    def newest_on(self, ip: bytes, but: NodeId) -> ListedNode:
        """The one of them that was listed last; there must be one."""
        others = self._hosts[host_key(ip)] - {but}
        return max((self._nodes[node_id] for node_id in others), key=ListedNode.seniority)

    def make_room(self) -> bool:
        """Forget nodes that are not listed, the longest silent first, until there is room for one more.

        :return: ``False`` if there is none
        """
        while len(self._nodes) >= self._most or self._size > MAX_DOCUMENTS:
            silent = (node for node in self._nodes.values() if not node.record.listed)
            oldest = min(silent, key=lambda node: node.record.last_heard, default=None)
            if oldest is None:
                return False
            self.forget(oldest)
        return True

    def add(self, node: ListedNode) -> None:
        """Add a node that is not known; :meth:`change` saves it."""
        self._nodes[node.record.node_id] = node
        self._count(node, 1)

    def change(self, node: ListedNode, record: NodeRecord, descriptor: Descriptor) -> None:
        """Give a node another record, and save it."""
        old = node.record
        if old.listed == record.listed and old.document is record.document:
            node.record = record
        else:
            self._count(node, -1)
            node.record, node.descriptor = record, descriptor
            self._count(node, 1)
        self._saving.put(record)

    def forget(self, node: ListedNode) -> None:
        """Remove a node, and the date when it was first seen with it."""
        self._count(node, -1)
        del self._nodes[node.record.node_id]
        self._saving.remove(node.record.node_id)

    def _count(self, node: ListedNode, sign: int) -> None:
        self._size += sign * len(node.record.document)
        if sign > 0:
            self._documents[node.record.document] = node.descriptor
        else:
            self._documents.pop(node.record.document, None)
        if not node.record.listed:
            return
        host = host_key(node.descriptor.address.ip)
        there = self._hosts.setdefault(host, set())
        if sign > 0:
            there.add(node.record.node_id)
        else:
            there.discard(node.record.node_id)
        if not there:
            del self._hosts[host]
