"""What the documents tell an operator to type is taken by the commands: every option that they name exists."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

import torpydo
from tests.directory.build import key
from torpydo.cli.main import COMMANDS
from torpydo.taps import client, node, pool

DOCS = Path(torpydo.__file__).parent.parent / "docs"
KEY = str(key("pool").pool_id)
CHECKED = ("status", "doctor", "identity")
"""Commands whose lines are parsed wherever they stand."""
TAPS: dict[str, type[UsageOptions]] = {"node": node.Options, "pool": pool.Options, "client": client.Options}
# In sentences an option may stand alone, or a command without what it needs.
COMMAND = re.compile(r"torpydo ((?:" + "|".join(CHECKED) + r")(?:[^\n`\\]|\\\n)*)")
OPTION = re.compile(r"``--([a-z][a-z-]+)")
ROW = re.compile(r"(?m)^``--([a-z][a-z-]+)``  ")


class ReadingParser(argparse.ArgumentParser):
    """Says what is wrong to whoever wrote the command."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def commands(text: str) -> Iterator[list[str]]:
    """The commands in the literal blocks of a page."""
    for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", text):
        for match in COMMAND.findall(block):
            yield shlex.split(match.replace("\\\n", " ").replace("#KEY", f"#{KEY}"))


def wrong_with(words: list[str]) -> str | None:
    """What the command's own parser says; ``None`` if it takes them."""
    parser = ReadingParser(allow_abbrev=False)
    import_module(COMMANDS[words[0]][0]).arguments(parser)
    try:
        parser.parse_args(words[1:])
    except ValueError as error:
        return str(error)
    return None


def known_options() -> set[str]:
    """Every option of the commands here and of the services."""
    known = {name for options in TAPS.values() for name in options().longOpt}
    names = {name.rstrip("=") for name in known}
    for command in COMMANDS:
        parser = ReadingParser()
        import_module(COMMANDS[command][0]).arguments(parser)
        names |= options_of(parser)
    return names


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Those of a parser and of the parsers in it."""
    names = set()
    for action in parser._actions:
        names |= {option.removeprefix("--") for option in action.option_strings}
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                names |= options_of(inner)
    return names


class DocumentTests(SynchronousTestCase):
    """The pages of docs/howto."""

    skip = None if DOCS.exists() else "the documents are only in a checkout"

    def test_the_commands_of_an_operator(self) -> None:
        """Each line is one that works, as far as its options go."""
        found = [words for page in sorted(DOCS.rglob("*.rst")) for words in commands(page.read_text())]
        self.assertEqual({words[0] for words in found}, set(CHECKED))
        self.assertEqual({" ".join(words): said for words in found if (said := wrong_with(words))}, {})

    def test_a_command_that_does_not_work_is_found(self) -> None:
        """This is a test of the one above."""
        text = "Type::\n\n    sudo -u x /opt/torpydo doctor --nonsense\n    torpydo identity restore \\\n      a\n\n"
        self.assertEqual([wrong_with(words) is None for words in commands(text)], [False, False])

    def test_every_option_of_the_page_exists(self) -> None:
        """Those that stand in its sentences and tables, too."""
        for page in ("operating", "run-a-node", "run-a-pool"):
            named = set(OPTION.findall((DOCS / "howto" / f"{page}.rst").read_text()))
            self.assertGreater(len(named), 4)
            self.assertEqual(named - known_options(), set(), page)

    def test_every_option_of_a_service_is_explained(self) -> None:
        """In the table of its page."""
        for service, page in (("node", "run-a-node"), ("pool", "run-a-pool"), ("client", "proxies")):
            explained = set(ROW.findall((DOCS / "howto" / f"{page}.rst").read_text()))
            names = {name.rstrip("=") for name in TAPS[service]().longOpt} - {"help", "version"}
            self.assertEqual(names, explained, page)
