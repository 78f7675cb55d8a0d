"""What depends on a secret is compared in constant time only (SECURITY H8)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import torpydo

PACKAGE = Path(torpydo.__file__).parent

WORDS = "auth|cookie|digest|hash|mac|password|secret|seed|signature|tag|token"
SECRET = re.compile(rf"(^|_)({WORDS})(s|_|$)", re.IGNORECASE)
"""Names that may hold something which an attacker must not learn byte by byte."""
LENGTH = re.compile(r"_SIZE$")

PUBLIC = {
    # Where a name is compared, and why everybody may know what it holds
    ("cli/demo.py", "digest"): "the hash of a file that the demo itself has made",
    ("crypto/kdf.py", "document_hash"): "a checksum against torn files, without a key",
    ("directory/netdir.py", "digest"): "the hash of public listings",
    ("net/fetch.py", "tags"): "the entity tag of a public listing",
    ("net/listingcache.py", "document_hash"): "a checksum against torn files, without a key",
    ("net/listings.py", "digest"): "the hash of public listings",
    ("node/introductions.py", "seed"): "a table of the seeds that the same service has told; all its clients know them",
    ("node/onionservices.py", "_cookies"): "a table, looked up by a keyed hash of what is wanted",
    ("node/onionservices.py", "cookie"): "the same",
    ("tpdp/link.py", "AUTH"): "the number of a frame command",
}


def names(node: ast.AST) -> Iterator[str]:
    """Every name in an expression but of those whose length is asked for."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    for child in ast.iter_child_nodes(node):
        yield from names(child)


def compares_bytewise(node: ast.AST) -> bool:
    """Whether the time that *node* takes may say where two values differ."""
    if isinstance(node, ast.Compare):
        return any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("startswith", "endswith", "find", "index", "removeprefix")
    return isinstance(node, ast.Match)


def compared(tree: ast.AST) -> set[str]:
    """The names that look like secrets and are compared byte by byte."""
    return {
        name
        for node in ast.walk(tree)
        if compares_bytewise(node)
        for name in names(node.subject if isinstance(node, ast.Match) else node)
        if SECRET.search(name) and not LENGTH.search(name)
    }


class ComparisonTests(SynchronousTestCase):
    """``crypto.same`` compares, or a reason stands above."""

    def found(self) -> set[tuple[str, str]]:
        """All such names of the package, with their files; doubles for tests have no secrets."""
        return {
            (path.relative_to(PACKAGE).as_posix(), name)
            for path in PACKAGE.rglob("*.py")
            if path.relative_to(PACKAGE).parts[0] != "testing"
            for name in compared(ast.parse(path.read_text()))
        }

    def test_nothing_secret_is_compared_byte_by_byte(self) -> None:
        """What is called like a secret and compared otherwise is public, for a reason."""
        self.assertEqual(self.found() - set(PUBLIC), set())

    def test_the_reasons_are_needed(self) -> None:
        """A reason without its comparison goes away."""
        self.assertEqual(set(PUBLIC) - self.found(), set())

    def test_what_is_found(self) -> None:
        """Names, attributes, calls, slices, containers and matches; ``same`` and lengths are fine."""
        for text in (
            "tag == other",
            "x.mac != y",
            "secret in kept",
            "read_cookie() == b''",
            "(kind, auth_tag[4:]) != known",
            "body.startswith(own_digest)",
            "match token:\n    case b'x': pass",
        ):
            self.assertEqual(len(compared(ast.parse(text))), 1, text)
        for text in ("same(tag, other)", "tag is None", "len(token) == 32", "size == TAG_SIZE", "stage == machine"):
            self.assertEqual(compared(ast.parse(text)), set(), text)
