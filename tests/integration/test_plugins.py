"""Twisted finds what torpydo brings, from any directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import BIN, ENVIRONMENT

NAMES = ("torpydo-pool", "torpydo-node", "torpydo-client")
URL = "http\\://127.0.0.1\\:8080/"


class PluginTests(SynchronousTestCase):
    """The plugin file."""

    def setUp(self) -> None:
        self.elsewhere = self.mktemp()
        os.makedirs(self.elsewhere)

    def run_python(self, *arguments: str) -> str:
        """Run Python in a directory that has nothing to do with the project."""
        done = self.run_program(sys.executable, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def run_program(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        return subprocess.run(
            command, cwd=self.elsewhere, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )

    def test_the_services_are_listed(self) -> None:
        """``twist --help`` shows all three, with what they do."""
        text = self.run_python("-m", "twisted", "--help")
        for name in NAMES:
            self.assertIn(f"    {name} ", text)

    def test_each_service_has_help(self) -> None:
        """twistd loads its module."""
        for name in NAMES:
            done = self.run_program(BIN / "twistd", name, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("--state-dir", done.stdout)

    def test_no_reactor_is_installed(self) -> None:
        """The file is loaded inside other people's programs, which choose their reactor later."""
        program = (
            "import sys; from twisted.plugin import IPlugin, getPlugins; "
            "names = [type(plugin).__name__ for plugin in getPlugins(IPlugin)]; "
            "print('TorpydoStringParser' in names, 'twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual(self.run_python("-c", program).strip(), "True False")

    def test_a_client_endpoint_string(self) -> None:
        """Any program that takes endpoint strings takes this one."""
        endpoint = clientFromString(MemoryReactorClock(), f"torpydo:example.org:443:hops=4:pool={URL}")
        self.assertTrue(IStreamClientEndpoint.providedBy(endpoint))
