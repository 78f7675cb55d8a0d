"""Under pytest, no test of these rooms leaves the process: a lookup, a connection or a datagram is an error where it
happens, and fails the test even if somebody swallows it there (SECURITY S1, S7).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Not tests/integration and tests/cli, which have sockets and processes: test_leaks sets the trap in a client's process.
# The rooms below net cannot leave it, and are tested without those above.
TRAPPED = ("apps", "client", "faults", "fuzz", "net", "network", "node", "pool", "taps", "testing")


@pytest.fixture(autouse=True)
def no_way_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """Trap the ways out of the process for the time of one test."""
    room = request.path.relative_to(HERE).parts[0] if request.path.is_relative_to(HERE) else ""
    if room not in TRAPPED:
        yield
        return
    with import_module("torpydo.testing").LeakGuard() as guard:
        yield
    guard.check()
