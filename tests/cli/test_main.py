"""Tests of torpydo.cli.main and torpydo.cli.services."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from torpydo import __version__
from torpydo.cli.main import COMMANDS, main
from torpydo.cli.services import SERVICES


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


class UsageTests(SynchronousTestCase):
    """What a wrong or a curious command line gets."""

    def assert_refused(self, *arguments: str, saying: str) -> None:
        """One line on standard error, nothing on standard output, exit status 2."""
        status, out, err = run(*arguments)
        self.assertEqual((status, out), (2, ""))
        self.assertTrue(err.startswith("torpydo: ") and err.endswith("\n") and err.count("\n") == 1, err)
        self.assertIn(saying, err)

    def test_the_version(self) -> None:
        """It is that of the package."""
        self.assertEqual(run("--version"), (0, f"torpydo {__version__}\n", ""))

    def test_help_names_every_command(self) -> None:
        """The services are commands like the others."""
        status, out, _ = run("--help")
        self.assertEqual(status, 0)
        for name in [*COMMANDS, *SERVICES]:
            self.assertIn(f"\n  {name} ", out)

    def test_the_help_of_a_command(self) -> None:
        """It begins with a whole sentence."""
        for name in COMMANDS:
            status, out, _ = run(name, "--help")
            words = " ".join(out.partition("\n\n")[2].partition("\n\n")[0].split())
            self.assertEqual(status, 0)
            self.assertRegex(words, r"^[A-Z].*[^.]\.$", name)

    def test_no_command(self) -> None:
        """Nothing is not a command."""
        self.assert_refused(saying="a command is missing")

    def test_an_unknown_command(self) -> None:
        """It is named."""
        self.assert_refused("fetsch", saying="unknown command 'fetsch'")

    def test_an_unknown_option_before_the_command(self) -> None:
        """It is named."""
        self.assert_refused("--quick", "demo", saying="--quick")

    def test_an_unknown_option_of_a_command(self) -> None:
        """It is named, and the line says where the options are explained."""
        self.assert_refused("status", "--state-dir=x", "--yaml", saying="--yaml; see 'torpydo status --help'")

    def test_an_abbreviated_option(self) -> None:
        """What is short today may mean something else tomorrow."""
        self.assert_refused("status", "--state=x", saying="--state-dir")

    def test_a_missing_value(self) -> None:
        """An option that wants one says so."""
        self.assert_refused("status", "--state-dir", saying="--state-dir")

    def test_a_command_has_help(self) -> None:
        """It goes to standard output."""
        status, out, err = run("status", "--help")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("--json", out)


class ServiceTests(SynchronousTestCase):
    """``torpydo pool``, ``node`` and ``client``."""

    def test_an_unknown_option_of_a_service(self) -> None:
        """twistd would print all of its help; this is one line."""
        for name in SERVICES:
            status, out, err = run(name, "--frobnicate")
            self.assertEqual((status, out), (2, ""))
            self.assertEqual(err, f"torpydo: option --frobnicate not recognized; see 'torpydo {name} --help'\n")

    def test_help_of_a_service(self) -> None:
        """The options are those of the twistd command."""
        for name in SERVICES:
            status, out, _ = run(name, "--help")
            self.assertEqual(status, 0)
            self.assertIn("--state-dir", out)
