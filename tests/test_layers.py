"""The import table, which is the architecture: what is not allowed here may not be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import torpydo

PACKAGE = Path(torpydo.__file__).parent

# A room may import the rooms of the lines above its own, never one of its own line.
LEVELS = (
    {"errors"},
    {"wire"},
    {"crypto"},
    {"tpdp"},
    {"dht", "directory", "onion"},
    {"peers"},
    {"net"},
    {"client", "node", "pool"},
    {"apps"},
    {"taps", "cli"},
    {"__main__"},
)
ROOMS = set().union(*LEVELS, {"testing"})
ALLOWED = {room: set().union(*LEVELS[:number]) for number, level in enumerate(LEVELS) for room in level}
# The package itself names its public classes; the leaf packages see the public client only; doubles see all but taps.
ALLOWED |= {"__init__": {"errors", "client", "node", "pool"}}
ALLOWED |= {"apps": {"errors", "wire", "dht", "onion", "peers", "client"}}
# Peers know each other by the names of their services, and need nothing of the network's own nodes.
ALLOWED |= {"peers": {"errors", "wire", "crypto", "tpdp", "onion"}}
ALLOWED["testing"] = ROOMS - {"taps", "testing", "__main__"}

# The entry points for a fuzzer feed parsers that no room shows, wherever they are; nothing imports them.
FUZZ = PACKAGE / "testing" / "fuzz"

STANDS_ON = {"onionservice": {"dht"}}
"""Applications that are made of another one: descriptors are in the DHT."""

IO_FREE = {"errors", "wire", "crypto", "tpdp", "directory", "onion", "dht", "peers"}
IO_MODULES = {"twisted", "asyncio", "time", "random", "os", "socket"}
MOST_LINES = 400


def room_of(path: Path) -> str:
    """``client`` for torpydo/client/links.py, ``errors`` for torpydo/errors.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """The full name of every module that is imported anywhere in *tree*."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            if node.module == "torpydo":
                yield from (f"torpydo.{alias.name}" for alias in node.names if alias.name in ROOMS)


@cache
def modules() -> tuple[tuple[Path, str, ast.Module], ...]:
    """Every module of the package with its room and its syntax tree."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple((path, room_of(path), ast.parse(path.read_text(), str(path))) for path in paths)


class ImportTableTests(SynchronousTestCase):
    """Imports point one way."""

    def test_every_room_is_in_the_table(self) -> None:
        """A new room must say where it stands."""
        self.assertEqual({room for _, room, _ in modules()} - set(ALLOWED), set())

    def test_rooms_import_only_lower_rooms(self) -> None:
        """No module imports a room that is not below its own."""
        wrong = [
            f"{path}: {name}"
            for path, room, tree in modules()
            for name in imported(tree)
            if name.startswith("torpydo.") and name.split(".")[1] not in ALLOWED[room] | {room} and path.parent != FUZZ
        ]
        self.assertEqual(wrong, [])

    def test_other_rooms_are_imported_as_a_whole(self) -> None:
        """Only a room's own modules import its modules; a leaf package under apps is a room of its own."""
        wrong = [
            f"{path}: {name}"
            for path, room, tree in modules()
            for name in imported(tree)
            if name.startswith("torpydo.")
            and name.split(".")[1] != room
            and len(name.split(".")) > (3 if name.split(".")[1] in ("apps", "cli") else 2)
            and path.parent != FUZZ
        ]
        self.assertEqual(wrong, [])

    def test_nothing_imports_the_entry_points_for_a_fuzzer(self) -> None:
        """They may name any module because no other module depends on them."""
        wrong = [
            f"{path}: {name}"
            for path, _, tree in modules()
            for name in imported(tree)
            if name.startswith("torpydo.testing.fuzz") and path.parent != FUZZ
        ]
        self.assertEqual(wrong, [])

    def test_imports_are_absolute(self) -> None:
        """A reader sees from which room a name comes."""
        wrong = [f"{path}: {name}" for path, _, tree in modules() for name in imported(tree) if name.startswith(".")]
        self.assertEqual(wrong, [])

    def test_leaf_packages_do_not_know_each_other(self) -> None:
        """One application never imports another; what stands on another one has its row in STANDS_ON."""
        leaves = {path.parent.name for path in (PACKAGE / "apps").glob("*/__init__.py")}
        wrong = [
            f"{path}: {name}"
            for path, room, tree in modules()
            for name in imported(tree)
            if room == "apps"
            and set(name.split(".")[2:3]) & (leaves - {path.parent.name} - STANDS_ON.get(path.parent.name, set()))
        ]
        self.assertEqual(wrong, [])


class PurityTests(SynchronousTestCase):
    """What a room may not touch at all."""

    def test_only_crypto_imports_nacl(self) -> None:
        """Every nonce and key rule is in one room."""
        wrong = [
            str(path)
            for path, room, tree in modules()
            for name in imported(tree)
            if name.split(".")[0] == "nacl" and room != "crypto"
        ]
        self.assertEqual(wrong, [])

    def test_the_core_does_no_input_or_output(self) -> None:
        """Time, randomness and bytes are handed to these rooms."""
        wrong = [
            f"{path}: {name}"
            for path, room, tree in modules()
            for name in imported(tree)
            if room in IO_FREE and name.split(".")[0] in IO_MODULES
        ]
        self.assertEqual(wrong, [])

    def test_no_import_hides_in_a_function(self) -> None:
        """A cycle of imports is a mistake to be seen, not to be hidden."""
        wrong = [
            f"{path}:{inner.lineno}"
            for path, _, tree in modules()
            for outer in ast.walk(tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for inner in ast.walk(outer)
            if isinstance(inner, ast.Import | ast.ImportFrom)
        ]
        self.assertEqual(wrong, [])

    def test_nobody_imports_the_global_reactor(self) -> None:
        """The reactor is an argument; only a tap takes the one that twistd has installed."""
        wrong = [
            str(path)
            for path, room, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import) and room != "taps" and imports_reactor(node)
        ]
        self.assertEqual(wrong, [])

    def test_modules_stay_short(self) -> None:
        """A module that does not fit into a head is two modules."""
        lengths = {str(path): len(path.read_text().splitlines()) for path, _, _ in modules()}
        self.assertEqual({path: lines for path, lines in lengths.items() if lines > MOST_LINES}, {})

    def test_every_module_says_its_rule(self) -> None:
        """A module opens with a docstring."""
        self.assertEqual([str(path) for path, _, tree in modules() if not ast.get_docstring(tree)], [])


def imports_reactor(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether *node* installs and takes the process's reactor."""
    names = {alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return "twisted.internet.reactor" in names
    return node.module == "twisted.internet.reactor" or (node.module == "twisted.internet" and "reactor" in names)
