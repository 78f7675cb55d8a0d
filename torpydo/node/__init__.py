"""A node: the service that relays circuits and opens the connections of those that end here."""

from torpydo.node.classic import Node
from torpydo.node.config import DEFAULT_BANDWIDTH, Advertised, NodeConfig
from torpydo.node.draw import make_randbelow
from torpydo.node.limits import NodeLimits
from torpydo.node.refusal import NodeRefusal
from torpydo.node.report import NodeReport, PoolStanding, StampStanding
from torpydo.node.service import NodeService
from torpydo.node.status import NodeStatus

__all__ = [
    "DEFAULT_BANDWIDTH",
    "Advertised",
    "Node",
    "NodeConfig",
    "NodeLimits",
    "NodeRefusal",
    "NodeReport",
    "NodeService",
    "NodeStatus",
    "PoolStanding",
    "StampStanding",
    "make_randbelow",
]
