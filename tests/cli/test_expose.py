"""Tests of torpydo.cli.expose."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.terminal import Terminal
from tests.cli.test_main import run
from tests.network.base import Echo
from tests.network.test_onions import CLIENT, OnionTestCase
from torpydo.cli import expose
from torpydo.errors import ConfigurationError, ConnectRefused, ServiceNotFound, StateError
from torpydo.onion import OnionName, client_key_text

POOL = "--pool=http://127.0.0.1:1/"


def parse(*words: str) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser()
    expose.arguments(parser)
    return parser.parse_args(words)


class ArgumentTests(SynchronousTestCase):
    """What can be typed."""

    def test_defaults(self) -> None:
        """A port is all that must be said."""
        options = parse("8000")
        self.assertEqual((options.ports, options.persistent, options.client, options.qr), (["8000"], None, [], None))

    def test_everything(self) -> None:
        """Several ports, a file, keys of clients, no picture."""
        options = parse("80:8000", "22:unix:/run/ssh", "--persistent", "key", "--no-qr",
                        f"--client={client_key_text(CLIENT.public)}")  # fmt: skip
        self.assertEqual((options.ports, options.persistent), (["80:8000", "22:unix:/run/ssh"], "key"))
        self.assertEqual((options.client, options.qr), ([CLIENT.public], False))

    def refused(self, *words: str) -> str:
        """One line, and status 2."""
        status, out, err = run("expose", *words)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
        return err

    def test_wrong(self) -> None:
        """It is named, with how it is written."""
        self.assertIn("PORT", self.refused(POOL))
        for port in ("0", "65536", "http", "80:", "80:host:", "80:unix:", ""):
            self.assertIn("80:127.0.0.1:8000", self.refused(port, POOL), port)
        self.assertIn("52 letters", self.refused("80", "--client=short", POOL))
        self.assertIn("--hops", self.refused("80", "--hops=9", POOL))
        self.assertIn("--persist", self.refused("80", "--persist=x", POOL))


    def test_a_port_twice(self) -> None:
        """It is said before the network is asked for anything."""
        for ports in (("80", "80:8000"), ("80:8000", "22", "080:8001")):
            running = Deferred.fromCoroutine(expose.run(Clock(), parse(*ports, POOL)))
            self.assertIn("twice", str(self.failureResultOf(running, ConfigurationError).value))


class CodeTests(SynchronousTestCase):
    """The picture."""

    def test_only_on_a_terminal(self) -> None:
        """Unless it is asked for; and not if that is refused."""
        with redirect_stdout(io.StringIO()):
            self.assertEqual(
                [bool(expose._wants_code(parse("80", *words))) for words in ([], ["--qr"], ["--no-qr"])],
                [False, True, False],
            )

    def test_without_the_package(self) -> None:
        """Who asks for it is told what is missing; who does not has none."""
        self.patch(expose, "find_spec", lambda name: None)
        error = self.assertRaises(ConfigurationError, expose._wants_code, parse("80", "--qr"))
        self.assertIn("torpydo[cli]", str(error))
        with redirect_stdout(Terminal(io.BytesIO())):
            for words in ([], ["--no-qr"]):
                self.assertFalse(expose._wants_code(parse("80", *words)))

    def test_on_a_terminal(self) -> None:
        """Unless it is refused."""
        with redirect_stdout(Terminal(io.BytesIO())):
            self.assertEqual([bool(expose._wants_code(parse("80", *words))) for words in ([], ["--no-qr"])],
                             [True, False])  # fmt: skip

    def test_it_is_drawn(self) -> None:
        """In so many lines that a telephone can read it."""
        out = io.StringIO()
        expose._draw("a" * 56 + ".torpydo:80", out)
        self.assertGreater(out.getvalue().count("\n"), 15)


class ServeTests(OnionTestCase):
    """On a network."""

    def served(self, options: argparse.Namespace, *, code: bool = False) -> Deferred[int]:
        """What ``run`` does once the client is there."""
        return Deferred.fromCoroutine(expose._serve(self.host._reactor, self.host, options, wants_code=code))

    def serve(self, *words: str, code: bool = False) -> tuple[Deferred[int], io.StringIO, io.StringIO]:
        """Begin, and let it become reachable."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            serving = self.served(parse(*words), code=code)
            self.network.advance(10)
        return serving, out, err

    def test_it_serves(self) -> None:
        """The names stand alone on standard output, for programs; what is for people is on the other one."""
        self.network.clients[0].guards[0].allow("127.0.0.1", 8000)
        listening = self.network.reactor.listenTCP(8000, Factory.forProtocol(Echo), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        serving, out, err = self.serve("80:8000", "8000")
        first, second = out.getvalue().splitlines()
        name, _, port = first.partition(":")
        self.assertEqual((port, second), ("80", f"{name}:8000"))
        OnionName.parse(name)
        self.assertIn("Ctrl-C", err.getvalue())
        self.echoes(name)
        with redirect_stderr(err):
            serving.cancel()
        self.assertEqual(self.successResultOf(serving), 0)
        self.assertTrue(err.getvalue().endswith("torpydo: stopped\n"))

    def test_the_program_does_not_run(self) -> None:
        """A common slip: whoever exposes it is told, once."""
        self.network.clients[0].guards[0].allow("127.0.0.1", 8000)
        serving, out, err = self.serve("80:8000")
        with redirect_stderr(err):
            for _ in range(2):
                self.refused(ConnectRefused, out.getvalue().partition(":")[0])
            serving.cancel()
        self.assertEqual(err.getvalue().count("is it running?"), 1)

    def test_a_picture(self) -> None:
        """Behind each name."""
        serving, out, _ = self.serve("80", code=True)
        self.assertGreater(out.getvalue().count("\n"), 15)
        with redirect_stderr(io.StringIO()):
            serving.cancel()

    def test_invited_clients(self) -> None:
        """Others find no service; who has the key does."""
        _, out, _ = self.serve("80:8000", f"--client={client_key_text(CLIENT.public)}")
        name = out.getvalue().partition(":")[0]
        self.refused(ServiceNotFound, name)
        self.visitor.onions.authorise(name, CLIENT)
        self.network.clients[0].guards[0].allow("127.0.0.1", 8000)
        with redirect_stderr(io.StringIO()):
            self.refused(ConnectRefused, name)

    def test_persistent(self) -> None:
        """The name is the same the next time."""
        directory = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "key")
        names = []
        for more in ([], ["--state-dir", directory]):
            serving, out, err = self.serve("80", "--persistent", path, *more)
            names.append(out.getvalue())
            # The guard would be another one each time (SECURITY G1).
            self.assertEqual("--state-dir" in err.getvalue(), not more)
            with redirect_stderr(io.StringIO()):
                serving.cancel()
            self.host.onions.close()
            self.host._onions = None
        self.assertEqual(names[0], names[1])

    def test_a_file_that_cannot_be(self) -> None:
        """A typed error, before anything runs."""
        serving, out, _ = self.serve("80", "--persistent", "/no/such/directory/key")
        self.failureResultOf(serving, StateError)
        self.assertEqual(out.getvalue(), "")

    def test_interrupted_before_it_is_reachable(self) -> None:
        """Nothing is left of it."""
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            serving = self.served(parse("80"))
            serving.cancel()
        self.failureResultOf(serving)
        self.assertEqual(self.host.onions._services, {})
