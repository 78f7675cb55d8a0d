"""torpydo: an onion-routing network on Twisted and NaCl.

The public names of the package, each loaded when it is first used: the plugin file and ``torpydo --version``
stay cheap, and a client never loads the node.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torpydo.client import Circuit, Client
    from torpydo.errors import TorpydoError
    from torpydo.node import Node
    from torpydo.pool import PoolIndex

__version__ = "0.1.0.dev0"
__all__ = ["Circuit", "Client", "Node", "PoolIndex", "TorpydoError", "__version__"]

_ROOMS = {
    "Circuit": "torpydo.client",
    "Client": "torpydo.client",
    "Node": "torpydo.node",
    "PoolIndex": "torpydo.pool",
    "TorpydoError": "torpydo.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'torpydo' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_ROOMS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
