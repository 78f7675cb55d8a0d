"""What an operator chooses for a node, checked. Made by the tap, by :class:`torpydo.node.Node` and by tests."""

from __future__ import annotations

import re
from typing import Final, Self

import attrs
from twisted.internet.interfaces import IStreamServerEndpoint

from torpydo.crypto import NodeId, SigningKey
from torpydo.directory import ExitPolicy, PoolURL
from torpydo.errors import ConfigurationError
from torpydo.node.limits import DEFAULT_LIMITS, NodeLimits
from torpydo.node.resolver import parse_literal
from torpydo.tpdp import Address

__all__ = ["DEFAULT_BANDWIDTH", "Advertised", "NodeConfig"]

DEFAULT_BANDWIDTH: Final = 10_000_000
"""Bytes a second that a node claims unless it is told otherwise: what a small machine carries."""
MAX_BANDWIDTH: Final = 10**12
MAX_NICKNAME: Final = 32
MAX_FAMILY: Final = 32
"""What a descriptor can hold."""
MAX_DRAIN: Final = 3600.0
"""Seconds: who waits for longer than that waits for a circuit that never ends."""
MAX_WORKERS: Final = 64
"""Processes of a node: more than a machine has cores for is a mistake."""

_NICKNAME: Final = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)


@attrs.frozen
class Advertised:
    """Where others reach the node: a host name or IP literal, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT`` or ``[IPV6]:PORT``.

        :raises ConfigurationError: if it is neither
        """
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        literal = parse_literal(host)
        good = literal is not None and bracketed == (len(literal) == 16) or literal is None and _HOST.fullmatch(host)
        if not good or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ConfigurationError(f"{text!r} is not HOST:PORT, such as node.example.org:6000 or [2001:db8::1]:6000")
        return cls(host[1:-1] if bracketed else host, int(port))

    @property
    def address(self) -> Address | None:
        """The address itself, if the host is one."""
        literal = parse_literal(self.host)
        return None if literal is None else Address(literal, self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class NodeConfig:
    """What an operator chooses.

    :ivar endpoint: where to listen
    :ivar listen: the same in words, for messages
    :ivar pools: the pools that list the node, and tell it of the others
    :ivar state_dir: where keys and listings survive; ``None`` keeps them in memory only
    :ivar advertise: where others reach it; ``None``: where it listens, which must be one address then
    :ivar exit_policy: which destinations it opens
    :ivar nickname: for people
    :ivar family: the operator's other nodes
    :ivar bandwidth: bytes a second that it claims to carry; a claim, not a limit
    :ivar allow_single_hop: whether clients may use it as exit of a circuit of one hop
    :ivar aegis: whether AEGIS-256 is offered and accepted for the links
    :ivar workers: processes that carry circuits; 1: the one that runs the service does
    :ivar limits: what it bounds
    :ivar drain: seconds that circuits in use have when it stops
    :ivar identity: the key to use instead of the one in the state directory; for tests and simulations
    :raises ConfigurationError: if something cannot be used
    """

    endpoint: IStreamServerEndpoint
    listen: str
    pools: tuple[PoolURL, ...]
    state_dir: str | None
    advertise: Advertised | None = None
    exit_policy: ExitPolicy = attrs.field(factory=ExitPolicy.closed)
    nickname: str = ""
    family: frozenset[NodeId] = frozenset()
    bandwidth: int = DEFAULT_BANDWIDTH
    allow_single_hop: bool = False
    aegis: bool = True
    workers: int = 1
    limits: NodeLimits = DEFAULT_LIMITS
    drain: float = 0.0
    identity: SigningKey | None = None

    def __attrs_post_init__(self) -> None:
        if not self.pools:
            raise ConfigurationError("a node needs at least one pool; a pool writes its URL to STATE/pool.url")
        if len(self.nickname) > MAX_NICKNAME or not _NICKNAME.fullmatch(self.nickname):
            raise ConfigurationError(f"a nickname is at most {MAX_NICKNAME} letters, digits, dots, dashes, underscores")
        if len(self.family) > MAX_FAMILY:
            raise ConfigurationError(f"a family has at most {MAX_FAMILY} nodes")
        if not 0 < self.bandwidth <= MAX_BANDWIDTH:
            raise ConfigurationError(f"the bandwidth is 1 to {MAX_BANDWIDTH} bytes a second")
        if not 0 <= self.drain <= MAX_DRAIN:
            raise ConfigurationError(f"circuits are waited for 0 to {MAX_DRAIN:.0f} seconds")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigurationError(f"a node has 1 to {MAX_WORKERS} workers; one for each core is enough")
