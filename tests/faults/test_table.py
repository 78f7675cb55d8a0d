"""The table of faults is complete, and what it names exists; and so is that of weaknesses in docs/threat-model."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests.faults

TESTS = Path(tests.faults.__file__).parent.parent
FAULTS = 40
WEAKNESSES = TESTS.parent / "docs" / "threat-model.rst"
SOAKED = re.compile(r'number: str = "(\d+)"')
BY_TIME = {34}
"""The soak itself."""


def rows() -> dict[int, str]:
    """What is said of each fault."""
    found: dict[int, str] = {}
    number = 0
    for line in (tests.faults.__doc__ or "").partition("::\n\n")[2].splitlines():
        begins = re.match(r" {4}( \d|\d\d)  ", line)
        number = int(begins[1]) if begins else number
        found[number] = found.get(number, "") + line + "\n"
    return found


@functools.cache
def names(path: Path) -> set[str]:
    """``Class`` and ``Class::test_method`` of a module of tests, those of base classes in it, too."""
    classes = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
    found = set(classes)
    for name, node in classes.items():
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_"):
                found.add(f"{name}::{inner.name}")
    return found


class TableTests(SynchronousTestCase):
    """tests/faults/__init__.py."""

    def test_every_number(self) -> None:
        """Each fault has a row, and a test or the soak."""
        table = rows()
        self.assertEqual(sorted(number for number in table if number), list(range(1, FAULTS + 1)))
        for number, row in table.items():
            if number:
                self.assertRegex(row, r"test_\w+|soak", number)

    def test_every_name(self) -> None:
        """Modules, classes and tests are where it says."""
        cited = re.findall(r"((?:\w+/)+test_\w+)((?:::\w+)*)", tests.faults.__doc__ or "")
        self.assertGreater(len(cited), 80)
        for module, inside in cited:
            path = TESTS / f"{module}.py"
            self.assertTrue(path.exists(), module)
            if inside:
                self.assertIn(inside.removeprefix("::"), names(path), module)

    def test_the_soak(self) -> None:
        """It does what is left to it."""
        texts = [path.read_text() for path in (TESTS / "soak" / "faults").glob("*.py")]
        done = {int(number) for text in texts for number in SOAKED.findall(text)}
        said = {number for number, row in rows().items() if number and "soak" in row}
        self.assertEqual(said - BY_TIME, done)

    def test_every_test_here(self) -> None:
        """Each class of this package is in the table."""
        cited = tests.faults.__doc__ or ""
        for path in (TESTS / "faults").glob("test_*.py"):
            for name in names(path):
                if name.endswith("Tests") and path.stem != "test_table":
                    self.assertIn(f"faults/{path.stem}::{name}", cited)


class WeaknessTests(SynchronousTestCase):
    """The table in docs/threat-model (SECURITY V5)."""

    NAMED = (
        "2020-002", "2020-005", "2021-005", "2021-006", "2021-009", "2024-003", "2024-010", "2024-011", "2026-009",
        "2026-010", "2026-011", "2026-24", "2026-27",
    )  # fmt: skip

    def test_each_has_a_test(self) -> None:
        """The six of TPDP/0.1 and every TROVE, and the tests are where it says."""
        table = WEAKNESSES.read_text().partition("Weaknesses of others\n")[2].partition("Your own network\n")[0]
        table_rows = table.split("    * - ")[2:]
        for row in table_rows:
            cited = re.findall(r"tests/((?:\w+/)+test_\w+)::(\w+(?:::\w+)?)", row)
            self.assertTrue(cited, row)
            for module, inside in cited:
                self.assertIn(inside, names(TESTS / f"{module}.py"), row)
        self.assertEqual(sum("TPDP/0.1" in row for row in table_rows), 6)
        self.assertEqual(re.findall(r"TROVE-([\d-]+)", table), list(self.NAMED))
