"""The documents: what they refer to is there, and no page is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.rst", *DOCS.glob("*.rst"), *(DOCS / "howto").glob("*.rst")]

# A role, with a title or without; a directive with a file; a link of a page that is not built.
_DOC = re.compile(r":doc:`(?:[^`<]*<)?([^`>]+)>?`")
_FILE = re.compile(r"^\.\. (?:literalinclude|image|figure|include):: (\S+)", re.MULTILINE)
_LINK = re.compile(r"`[^`<]+<([^`>:]+\.(?:rst|png))>`_")


def named(page: Path) -> Iterator[Path]:
    """The files that a page refers to."""
    text = page.read_text()
    for name in _DOC.findall(text):
        yield page.parent / f"{name}.rst"
    for name in _FILE.findall(text) + _LINK.findall(text):
        yield page.parent / name


class DocumentTests(SynchronousTestCase):
    """All pages."""

    def test_references(self) -> None:
        """They lead somewhere."""
        found = [(page.name, file) for page in PAGES for file in named(page)]
        self.assertGreater(len(found), 50)
        self.assertEqual([one for one in found if not one[1].is_file()], [])

    def test_every_page_is_listed(self) -> None:
        """In the index of all."""
        index = (DOCS / "index.rst").read_text().split()
        pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.parent != ROOT]
        self.assertEqual([page for page in pages if page not in (*index, "index")], [])

    def test_nothing_is_left_of_a_merge(self) -> None:
        """Seven signs below nothing that is as short, or in front of a name."""
        for page in PAGES:
            before = ""
            for line in page.read_text().splitlines():
                marker = line == "=======" and len(before) != 7
                self.assertFalse(marker or re.match(r"<{7} |>{7} ", line), f"{page.name}: {line!r} below {before!r}")
                before = line
