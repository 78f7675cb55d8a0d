"""Whoever writes to a transport says what bounds it (SECURITY F7): a new place is entered here, with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import torpydo

PACKAGE = Path(torpydo.__file__).parent
VERBS = {"write", "writeSequence", "writeSomeData"}
FUNCTION = "write_now"
# What is written to that is no transport: files, and objects that are named here in their own place.
FILES = {"self._state", "self", "file", "os"}

BOUNDS = {
    "net/links.py": {
        "LinkProtocol.close": "last words: DESTROYs, for circuits are dropped before; aborted after two seconds",
        "LinkProtocol._write": "one record at a time, none while the transport is full (producer); the rest is in the"
        " core, counted for its circuits",
    },
    "net/directwrite.py": {"write_now": "its callers are entered here themselves"},
    "net/fetch.py": {"_Body.startProducing": "one request body, a heartbeat"},
    "node/exitstream.py": {
        "ExitStream.write": "the client's credit, which is renewed only while the transport is not full (producer)",
        "ExitStream.connectionMade": "the credit that a stream has when it opens",
    },
    "node/exits.py": {"ExitStreams._data": "hands on to ExitStream.write"},
}
"""By file and function, why it cannot be too much."""


def writes(tree: ast.AST, scope: str = "") -> Iterator[tuple[str, str]]:
    """Where something is written to: the function, and what is written to."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from writes(node, f"{scope}.{node.name}".lstrip("."))
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS:
            yield scope, ast.unparse(node.func.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == FUNCTION:
            yield scope, ast.unparse(node.args[0])
        yield from writes(node, scope)


class WritesTests(SynchronousTestCase):
    """The rooms through which cells and streams go."""

    def test_every_write_is_bounded(self) -> None:
        """And what is entered here exists."""
        found: dict[str, set[str]] = {}
        for room in ("net", "node"):
            for path in sorted((PACKAGE / room).rglob("*.py")):
                for scope, target in writes(ast.parse(path.read_text())):
                    if target not in FILES:
                        found.setdefault(str(path.relative_to(PACKAGE)), set()).add(scope)
        self.assertEqual(found, {file: set(scopes) for file, scopes in BOUNDS.items()})

    def test_every_producer_is_registered(self) -> None:
        """Both ends of the data path hear when their transport is full."""
        for file in ("net/links.py", "node/exitstream.py"):
            self.assertIn("registerProducer(self, ", (PACKAGE / file).read_text())
