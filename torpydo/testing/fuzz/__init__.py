"""Entry points for a fuzzer: one for every parser that sees bytes from outside (SECURITY V1, D6).

``TARGETS`` is the table of all of them, by name. ``python -m torpydo.testing.fuzz`` runs them with atheris, which is
the ``fuzz`` extra; the tests run each of them with hypothesis. This package names modules of other rooms, because it
feeds parsers that no room shows; nothing imports it but the tests and that command.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torpydo.testing.fuzz import (
    cells,
    documents,
    fetches,
    files,
    greetings,
    hops,
    links,
    messages,
    nodes,
    peers,
    proxies,
    services,
    sites,
    texts,
)
from torpydo.testing.fuzz.target import Finding, Target

__all__ = ["TARGETS", "Finding", "Target"]

_MODULES = (
    greetings,
    links,
    hops,
    cells,
    messages,
    texts,
    documents,
    files,
    fetches,
    sites,
    proxies,
    nodes,
    services,
    peers,
)

TARGETS: Mapping[str, Target] = MappingProxyType(
    {target.name: target for module in _MODULES for target in module.TARGETS}
)
"""Every entry point by its name."""
