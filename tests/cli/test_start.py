"""Tests of torpydo.__main__."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from torpydo import __main__ as start
from torpydo.cli.main import main


class StartTests(SynchronousTestCase):
    """Until the command has the signals."""

    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))

    def while_it_is_loaded(self, before: Any) -> Any:
        """What a Ctrl-C does while the command is loaded, which takes a moment."""
        seen = []

        def load(name: str) -> object:
            seen.append(signal.getsignal(signal.SIGINT))
            return SimpleNamespace(main=lambda: 7)

        signal.signal(signal.SIGINT, before)
        self.patch(start, "import_module", load)
        self.assertEqual(start.main(), 7)
        return seen[0]

    def test_ctrl_c_ends_it(self) -> None:
        """Without a traceback: nothing is open that would have to be closed."""
        self.assertEqual(self.while_it_is_loaded(signal.default_int_handler), signal.SIG_DFL)

    def test_who_ignores_it_goes_on(self) -> None:
        """A shell starts what is in the background so."""
        self.assertEqual(self.while_it_is_loaded(signal.SIG_IGN), signal.SIG_IGN)

    def test_the_command(self) -> None:
        """It is the one that is there."""
        self.assertIs(start.import_module("torpydo.cli.main").main, main)
