"""Stamps with processes and the real work: a pool that asks for some, and nodes that have or have not done it (K1)."""

from __future__ import annotations

import unittest

from tests.integration.processes import Network, wait_for
from torpydo.crypto import STAMP_SIZE, NodeId, document_hash, stamp_holds

BITS = 2
MAGIC = b"torpydo node stamp 1\n"
"""How the file of a stamp begins."""


class StampTests(unittest.TestCase):
    """A pool and a node."""

    def setUp(self) -> None:
        self.network = Network(nodes=1)
        self.addCleanup(self.network.close)

    def node_id(self) -> bytes:
        """The node's."""
        return NodeId.parse(self.network.ask("node1")["node_id"]).raw

    def says(self) -> str:
        """What the pool says of the node, as the node's status has it."""
        return str(self.network.ask("node1")["pools"][0]["says"])

    def test_work(self) -> None:
        """Without a stamp it is refused, works, and is listed; with a forged one it is not, until that is away."""
        network = self.network
        network.start_pool(f"--stamp-bits={BITS}")
        node, pool = network.start_node("node1"), network.processes["pool"]
        wait_for(lambda: "lists this node" in node.output, "the node is listed")
        self.assertIn("it asks for more work than this node's stamp has", node.output)
        self.assertIn(f"the pools ask for a stamp of {BITS} bits", node.output)
        self.assertEqual(pool.output.count(" is listed"), 1)
        self.assertGreater(network.ask("pool")["refused"]["stamp"], 0)
        node_id, said = self.node_id(), network.ask("node1")["stamp"]
        self.assertGreaterEqual(said["bits"], BITS)
        self.assertEqual((said["asked"], said["working"]), (BITS, False))
        file = network.state("node1") / "node.stamp"
        stamp = file.read_bytes()[-STAMP_SIZE:]
        self.assertTrue(stamp_holds(node_id, stamp))

        # It claims all bits that there are, in a file that is as it should be.
        node.end()
        forged = stamp[:8] + bytes(STAMP_SIZE - 8)
        file.write_bytes(MAGIC + document_hash(MAGIC + node_id + forged) + forged)
        node = network.start_node("node1")
        wait_for(lambda: node.output.count("or the stamp does not hold") > 1, "the node is refused")
        self.assertIn("forged", self.says())
        self.assertIn("node.stamp", self.says())

        node.end()
        file.unlink()
        node = network.start_node("node1")
        wait_for(lambda: node.output.count("lists this node") > 1, "the node is listed again")
        self.assertTrue(stamp_holds(node_id, file.read_bytes()[-STAMP_SIZE:]))
