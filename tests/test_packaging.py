"""What is built is what is in the tree."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import torpydo

ROOT = Path(torpydo.__file__).parent.parent
CHECKOUT = (ROOT / "setup.cfg").exists()


class SetupTests(SynchronousTestCase):
    """setup.cfg."""

    skip = None if CHECKOUT else "setup.cfg is only in a checkout"

    def setUp(self) -> None:
        self.config = configparser.ConfigParser(interpolation=None)
        self.config.read(ROOT / "setup.cfg")

    def test_every_package_is_listed(self) -> None:
        """A package that setup.cfg does not list would be missing from the wheel."""
        found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "torpydo").rglob("__init__.py")}
        listed = self.config["options"]["packages"].split()
        self.assertEqual(sorted(listed), sorted(found | {"twisted.plugins"}))

    def test_an_editable_install_keeps_the_plugins(self) -> None:
        """Only with this line does an editable install put a real directory on the path, where Twisted looks."""
        self.assertEqual(self.config["options"]["package_dir"].strip(), "= .")

    def test_the_plugin_directory_is_no_package(self) -> None:
        """An ``__init__.py`` there would hide Twisted itself, or its plugins."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_pyproject_holds_only_the_build_system(self) -> None:
        """All metadata is in setup.cfg."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        self.assertEqual(list(project), ["build-system"])

    def test_each_dependency_is_explained(self) -> None:
        """docs/dependencies.rst has a line for everything that is installed."""
        text = (ROOT / "docs" / "dependencies.rst").read_text()
        wanted = self.config["options"]["install_requires"].split()
        for extra in self.config["options.extras_require"].values():
            wanted += [line for line in extra.split() if not line.startswith("%")]
        names = {re.split(r"[\[<>=~]", line)[0] for line in wanted}
        self.assertEqual({name for name in names if f"``{name}``" not in text}, set())

    def test_the_script_is_there(self) -> None:
        """``torpydo`` runs the command."""
        scripts = self.config["options.entry_points"]["console_scripts"].split()
        self.assertEqual(scripts, ["torpydo", "=", "torpydo.__main__:main"])
