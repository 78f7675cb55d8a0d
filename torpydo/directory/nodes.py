"""The nodes that pools list, opened only when they are used.

Checking one descriptor takes about 0.1 ms, so 10 000 of them at once would stop the reactor for a second.
The pools' signatures already cover every byte; a node's own signature is checked when the node is first
picked or looked up, and it is never used unchecked. A pool that lists a forged descriptor gains nothing: the
next best one, which another pool gave, takes its place. Called by netdir, path and guards only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Self

import attrs
import msgspec

from torpydo.crypto import NodeId
from torpydo.directory.descriptor import Descriptor, DescriptorBody, decode_body, open_descriptor
from torpydo.directory.ranges import subnet
from torpydo.errors import DescriptorError

__all__ = ["Document", "ListedNode", "Lottery", "NodeMap"]


# gc=False: there are tens of thousands, none is part of a cycle, and a look of the cycle collector at all of them
# would take longer than the choice of a path that it interrupts.
class Document(msgspec.Struct, eq=False, gc=False):
    """One signed descriptor, as pools gave it. It is checked once, however often it comes again.

    :ivar raw: its bytes
    :ivar body: what it says; not to be believed before :meth:`open`
    :ivar broken: what reading it raised that nothing should raise; until somebody was told
    """

    raw: bytes
    body: DescriptorBody
    _descriptor: Descriptor | None = None
    _refused: bool = False
    broken: Exception | None = None

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """Decode a document; None if its form is wrong."""
        try:
            return cls(raw, decode_body(raw))
        except DescriptorError:
            return None

    def open(self) -> Descriptor | None:
        """The checked descriptor; None if it was refused."""
        if self._descriptor is None and not self._refused:
            try:
                self._descriptor = open_descriptor(self.raw, self.body)
            except DescriptorError:
                self._refused = True
            except Exception as error:
                # Pools wrote it, and it is opened in the middle of choosing a path: whatever it breaks costs itself,
                # as any refused one, and whoever chooses says so (SECURITY N7).
                self._refused, self.broken = True, error
        return self._descriptor


class ListedNode(msgspec.Struct, eq=False, gc=False):
    """A node that enough pools list.

    :ivar raw_id: its node id, as bytes: a :class:`NodeId` takes 0.04 ms to make
    :ivar documents: its descriptors, best first: normally one, at most one from each pool
    :ivar weight: how often it is chosen, relative to others
    :ivar stamp: the one that enough pools have seen to hold; ``None`` while too few agree on one
    """

    raw_id: bytes
    documents: list[Document]
    weight: int = 1
    stamp: bytes | None = b""

    @property
    def best(self) -> Document:
        """The document that counts.

        Where pools gave several, they are opened before one is believed: a pool could otherwise hide a node
        behind a forged descriptor that claims a closed exit policy, or the address of another.
        """
        if len(self.documents) > 1:
            self.open()
        return self.documents[0]

    def open(self) -> Descriptor | None:
        """The node's checked descriptor; None if every document is forged. Only one document is kept."""
        while True:
            descriptor = self.documents[0].open()
            if descriptor is not None:
                del self.documents[1:]
            if len(self.documents) == 1:
                return descriptor
            del self.documents[0]

    def shares_subnet(self, other: ListedNode) -> bool:
        """Whether both addresses are in one IPv4 /16 or IPv6 /32."""
        return subnet(self.best.body.ip) == subnet(other.best.body.ip)

    def shares_family(self, other: ListedNode) -> bool:
        """Whether both nodes name each other."""
        return other.raw_id in self.best.body.family and self.raw_id in other.best.body.family


@attrs.frozen(eq=False)
class Lottery:
    """Nodes to draw from, each as often as its weight says.

    :ivar nodes: the nodes
    """

    nodes: tuple[ListedNode, ...]
    _cumulative: tuple[int, ...]

    @classmethod
    def of(cls, nodes: Iterable[ListedNode]) -> Self:
        """Prepare to draw from *nodes*: linear now, logarithmic for each draw."""
        fixed = tuple(nodes)
        return cls(fixed, tuple(accumulate(node.weight for node in fixed)))

    def draw(self, randbelow: Callable[[int], int]) -> ListedNode:
        """Draw a node; there must be one."""
        return self.nodes[bisect_right(self._cumulative, randbelow(self._cumulative[-1]))]


@attrs.define(eq=False)
class NodeMap(Mapping[NodeId, Descriptor]):
    """Checked descriptors by node id; the checks are made at look-up.

    ``len`` counts what is not known to be forged. Iterating opens every node (0.1 ms each): it is meant for
    small networks and for status pages, not for path choice.

    :ivar listed: the nodes by the bytes of their id
    :ivar dead: those of them whose documents were all refused
    """

    listed: dict[bytes, ListedNode]
    dead: set[bytes] = attrs.field(factory=set)
    _broken: list[tuple[bytes, Exception]] = attrs.field(factory=list, init=False)

    def open(self, node: ListedNode) -> Descriptor | None:
        """The checked descriptor of *node*; None, and it is counted as dead, if it has none."""
        documents = tuple(node.documents)
        descriptor = node.open()
        if descriptor is None:
            self.dead.add(node.raw_id)
        for document in documents:
            if document.broken is not None:
                self._broken.append((node.raw_id, document.broken))
                document.broken = None
        return descriptor

    def take_broken(self) -> list[tuple[bytes, Exception]]:
        """The nodes with a document that could not even be refused in order, and what it raised: each told once."""
        broken, self._broken = self._broken, []
        return broken

    def __getitem__(self, node_id: NodeId) -> Descriptor:
        descriptor = self.open(self.listed[node_id.raw])
        if descriptor is None:
            raise KeyError(node_id)
        return descriptor

    def __iter__(self) -> Iterator[NodeId]:
        for node in self.listed.values():
            descriptor = self.open(node)
            if descriptor is not None:
                yield descriptor.node_id

    def __len__(self) -> int:
        return len(self.listed) - len(self.dead)
