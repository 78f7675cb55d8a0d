"""Tests of torpydo.cli.dht."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.terminal import Terminal
from tests.cli.test_main import run
from tests.network.test_dht import DHTTestCase
from torpydo.cli import dht
from torpydo.dht import MAX_LIFE, MAX_VALUE
from torpydo.errors import ItemError, StateError
from torpydo.testing import LocalNetwork

TARGET = "ab" * 32
POOL = "--pool=http://127.0.0.1:1/"


def parse(*words: str) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser()
    dht.arguments(parser)
    return parser.parse_args(words)


class ArgumentTests(SynchronousTestCase):
    """What can be typed."""

    def refused(self, *words: str) -> str:
        """One line, and status 2."""
        status, out, err = run("dht", *words)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
        return err

    def test_get(self) -> None:
        """A target in hexadecimal digits."""
        self.assertEqual(parse("get", TARGET).target, b"\xab" * 32)
        self.assertEqual(parse("get", TARGET.upper(), "--first").target, b"\xab" * 32)

    def test_put(self) -> None:
        """A value and a key; the rest has defaults."""
        options = parse("put", "text", "--key-file=k")
        self.assertEqual((options.value, options.key_file, options.salt, options.life), (b"text", "k", b"", 7200))
        options = parse("put", "text", "--key-file=k", "--salt=s", f"--life={MAX_LIFE}")
        self.assertEqual((options.salt, options.life), (b"s", MAX_LIFE))

    def test_wrong(self) -> None:
        """It is named, with what it should be."""
        self.assertIn("ACTION", self.refused())
        self.assertIn("steal", self.refused("steal"))
        for target in ("", "ab", "x" * 64, TARGET + "ab"):
            self.assertIn("64 hexadecimal digits", self.refused("get", target, POOL))
        self.assertIn("--key-file", self.refused("put", "text", POOL))
        self.assertIn("64", self.refused("put", "text", "--key-file=k", f"--salt={'s' * 65}", POOL))
        for life in ("0", "-1", str(MAX_LIFE + 1), "long", "1.5", "\u0661"):
            self.assertIn(str(MAX_LIFE), self.refused("put", "text", "--key-file=k", f"--life={life}", POOL), life)

    def test_too_long(self) -> None:
        """It is said how much a value may be, before a network is asked, and before there is a key."""
        path = self.mktemp()
        self.assertIn(f"at most {MAX_VALUE} bytes", self.refused("put", "x" * (MAX_VALUE + 1), f"--key-file={path}"))
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(MAX_VALUE + 1))))
        self.assertIn(f"at most {MAX_VALUE} bytes", self.refused("put", "-", f"--key-file={path}"))
        self.assertFalse(os.path.exists(path))

    def test_nothing_comes(self) -> None:
        """Ctrl-C ends it while it waits for standard input."""

        class Terminal(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: object) -> int:
                raise KeyboardInterrupt

        self.patch(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Terminal())))
        self.assertEqual(run("dht", "put", "-", "--key-file=k", POOL), (130, "", "torpydo: interrupted\n"))


class ActionTests(DHTTestCase):
    """On a network."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, directory)
        self.path = os.path.join(directory, "key")
        self.patch(time, "time", self.network.pool.wall_clock)

    out: type[io.TextIOWrapper] = io.TextIOWrapper

    def do(self, *words: str) -> tuple[bytes, str]:
        """What an action prints on standard output and on standard error."""
        out, err = self.out(io.BytesIO(), encoding="utf-8"), io.StringIO()
        action = {"get": dht._get, "put": dht._put, "stats": dht._stats}[words[0]]
        with redirect_stdout(out), redirect_stderr(err):
            status = self.network.success(Deferred.fromCoroutine(action(self.network.client, parse(*words))))
        self.assertEqual(status, 0)
        out.flush()
        raw = out.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue(), err.getvalue()

    def put(self, *words: str) -> str:
        """The target of what was put."""
        out, err = self.do("put", "--key-file", self.path, *words)
        self.assertIn("kept by 6 nodes", err)
        return out.decode().strip()

    def test_put_and_get(self) -> None:
        """The target alone stands on standard output; the value comes as it went, without a line's end."""
        target = self.put("text \u00fc")
        self.assertEqual(self.do("get", target)[0], "text \u00fc".encode())
        self.assertIn("sequence", self.do("get", target, "--first")[1])

    def test_put_again(self) -> None:
        """The newer one counts, without anything that would have to be remembered."""
        target = self.put("one")
        self.network.advance(0.01)
        self.assertEqual(self.put("two"), target)
        self.assertEqual(self.do("get", target)[0], b"two")

    def test_what_was_before(self) -> None:
        """A newer one counts though it is from a clock that is behind, and lives as long as the one before: nobody can
        bring that back when it has expired.
        """
        storage, here = self.participant(self.network.nodes[0]).storage, self.network.pool.wall_clock
        target = self.put("long", f"--life={MAX_LIFE}")
        (before,) = storage
        self.patch(time, "time", lambda: here() - 1000)
        self.assertEqual(self.put("", "--life=60"), target)
        (after,) = storage
        self.assertEqual((after.sequence, after.expires), (before.sequence + 1, before.expires))
        self.assertRaises(ItemError, self.do, "get", target)

    def test_the_life_of_an_item(self) -> None:
        """As long as was said; two hours without a word."""
        short, long = self.put("one", "--life=30", "--salt=1"), self.put("two", "--salt=2")
        self.network.advance(40)
        self.assertRaises(ItemError, self.do, "get", short)
        self.assertEqual(self.do("get", long)[0], b"two")

    def test_the_first_that_is_found(self) -> None:
        """It is asked for only if that is wanted: it may not be the newest."""
        target = self.put("one")
        dht_of_client = self.network.client.onions.dht
        get, asked = dht_of_client.get, []

        def spy(target: bytes, *, newest: bool) -> Deferred[Any]:
            asked.append(newest)
            found: Deferred[Any] = get(target, newest=newest)
            return found

        self.patch(dht_of_client, "get", spy)
        self.do("get", target)
        self.do("get", target, "--first")
        self.assertEqual(asked, [True, False])

    def test_salt(self) -> None:
        """Several items of one key."""
        one, two = self.put("one", "--salt=1"), self.put("two", "--salt=2")
        self.assertNotEqual(one, two)
        self.assertEqual((self.do("get", one)[0], self.do("get", two)[0]), (b"one", b"two"))

    def test_standard_input(self) -> None:
        """Any bytes, up to the most that an item has."""
        value = bytes(range(256)) * 16
        self.assertEqual(len(value), MAX_VALUE)
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(value)))
        self.assertEqual(self.do("get", self.put("-"))[0], value)

    def test_any_bytes(self) -> None:
        """What a terminal in another encoding sends goes as it was typed."""
        target = self.put("\udcff", "--salt=\udcfe")
        self.assertEqual(self.do("get", target)[0], b"\xff")

    def test_a_terminal_obeys_nobody(self) -> None:
        """What strangers have written is shown, and no more; a program gets it as it is."""
        value = "\x1b[2J\u202ea\tb\r\n\u00fc".encode() + b"\xff\x9b"
        target = self.put(os.fsdecode(value))
        self.assertEqual(self.do("get", target)[0], value)
        self.out = Terminal
        self.assertEqual(self.do("get", target)[0].decode(), "?[2J?a\tb?\n\u00fc\ufffd\ufffd\n")

    def test_nothing(self) -> None:
        """A typed error; an item that was taken back is none either."""
        self.assertRaises(ItemError, self.do, "get", TARGET)
        target = self.put("")
        self.assertRaises(ItemError, self.do, "get", target)

    def test_a_wrong_key_file(self) -> None:
        """As everywhere."""
        with open(self.path, "w"):
            os.chmod(self.path, 0o644)
        self.assertRaises(StateError, self.put, "text")

    def test_nobody_takes_part(self) -> None:
        """It is said at once, and no key is made."""
        self.begin(LocalNetwork(nodes=4))
        for words in (("get", TARGET), ("put", "text", "--key-file", self.path)):
            error = self.assertRaises(ItemError, self.do, *words)
            self.assertIn("torpydo dht stats", str(error))
            self.assertEqual(error.exit_status, 3)
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual(self.do("stats")[0], b"nodes in the network: 4\nnodes that take part: 0\n")

    def test_nobody_keeps_it(self) -> None:
        """All nodes are full: that is an error of the network."""
        for node in self.network.nodes:
            self.participant(node).storage._total = 0
        error = self.assertRaises(ItemError, self.put, "text")
        self.assertIn("no room", str(error))
        self.assertEqual(error.exit_status, 3)

    def test_stats(self) -> None:
        """Who takes part."""
        self.assertEqual(self.do("stats")[0], b"nodes in the network: 6\nnodes that take part: 6\n")
