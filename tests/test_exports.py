"""The public names are what ``__all__`` says, and each is the room's own object."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from twisted.trial.unittest import SynchronousTestCase

import torpydo

PACKAGE = Path(torpydo.__file__).parent
ROOMS = sorted(f"torpydo.{found.name}" for found in iter_modules(torpydo.__path__) if found.ispkg)


class TopLevelTests(SynchronousTestCase):
    """``import torpydo``."""

    def test_every_public_name_is_there(self) -> None:
        """Each name of ``__all__`` can be had."""
        for name in torpydo.__all__:
            self.assertIsNotNone(getattr(torpydo, name), name)

    def test_public_names_are_the_rooms_objects(self) -> None:
        """``torpydo.Client`` is ``torpydo.client.Client``."""
        for room, name in (("client", "Client"), ("client", "Circuit"), ("node", "Node"), ("pool", "PoolIndex")):
            self.assertIs(getattr(torpydo, name), getattr(import_module(f"torpydo.{room}"), name))

    def test_dir_shows_the_public_names(self) -> None:
        """A name that was not loaded yet is listed all the same."""
        self.assertLessEqual(set(torpydo.__all__), set(dir(torpydo)))

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        """A misspelt name is told, and not looked for elsewhere."""
        self.assertRaises(AttributeError, getattr, torpydo, "Klient")

    def test_type_checkers_see_the_same_names(self) -> None:
        """What is loaded lazily and what a type checker is told are one list."""
        tree = ast.parse((PACKAGE / "__init__.py").read_text())
        guarded = next(node for node in tree.body if isinstance(node, ast.If))
        names = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        self.assertEqual(names | {"__version__"}, set(torpydo.__all__))

    def test_importing_it_loads_no_room(self) -> None:
        """``torpydo --version`` and the plugin file stay cheap."""
        program = "import sys, torpydo; print([name for name in sys.modules if name[:8] in ('torpydo.', 'twisted.')])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")


class RoomTests(SynchronousTestCase):
    """The ``__init__`` of a room is its face."""

    def test_each_name_of_all_exists(self) -> None:
        """``__all__`` names nothing that is not there, and nothing twice."""
        for room in ROOMS:
            module = import_module(room)
            names = getattr(module, "__all__", [])
            self.assertEqual([name for name in names if not hasattr(module, name)], [], room)
            self.assertEqual(len(names), len(set(names)), room)

    def test_all_names_everything_that_is_imported(self) -> None:
        """A room exports what it takes from its modules, and takes nothing else."""
        for room in ROOMS:
            tree = ast.parse((PACKAGE / room.partition(".")[2] / "__init__.py").read_text())
            taken = {
                alias.asname or alias.name
                for node in tree.body
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torpydo.")
                for alias in node.names
            }
            self.assertEqual(taken - set(getattr(import_module(room), "__all__", [])), set(), room)
