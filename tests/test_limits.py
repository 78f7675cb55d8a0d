"""docs/howto/limits.rst says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.onionservice import ServiceLimits
from torpydo.client import ClientLimits
from torpydo.net import Limits
from torpydo.node import NodeLimits

GUIDE = Path(__file__).parents[1] / "docs" / "howto" / "limits.rst"
ROW = re.compile(r"^    \* - ``([a-z-]+)``\n      - ([0-9.]+) (.+)\n      - ((?:.+\n(?=        ))*.+)\n", re.MULTILINE)


def rows(section: str) -> list[tuple[str, float, str, str]]:
    """What the guide says in one section: name, default, unit, and the reason in one line."""
    _, _, text = GUIDE.read_text().partition(f"\n{section}\n---")
    text, _, _ = text.partition("\n---")
    return [(name, float(default), unit, " ".join(why.split())) for name, default, unit, why in ROW.findall(text)]


def known(limits: type[Limits]) -> list[tuple[str, float, str, str]]:
    """The same of the code."""
    lifted = {True: " Lifted in a test network.", False: ""}
    return [(one.name, float(one.default), one.unit, f"{one.why}.{lifted[one.lifted]}") for one in limits.known()]


class GuideTests(SynchronousTestCase):
    """Every limit, with its default, its unit and its reason, and no other."""

    maxDiff = None

    def test_node(self) -> None:
        """Those of a node."""
        self.assertEqual(rows("A node"), known(NodeLimits))

    def test_client(self) -> None:
        """Those of a client; a test network has as many."""
        self.assertEqual(rows("A client"), known(ClientLimits))

    def test_service(self) -> None:
        """Those of an onion service that are numbers."""
        limits = attrs.asdict(ServiceLimits(), recurse=False)
        numbers = {name.replace("_", "-"): value for name, value in limits.items() if name != "life"}
        self.assertEqual({name: value for name, value, _, _ in rows("An onion service")}, numbers)
