"""Tests of torpydo.cli.path and torpydo.cli.clients."""

from __future__ import annotations

import argparse
import os

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli import path
from torpydo.cli.clients import POOLS_VARIABLE, client_arguments, hop_count, open_client
from torpydo.cli.path import destination
from torpydo.errors import ConfigurationError, PoolURLError


class DestinationTests(SynchronousTestCase):
    """HOST:PORT."""

    def test_a_name_and_a_port(self) -> None:
        """The usual form."""
        self.assertEqual(destination("example.org:443"), ("example.org", 443))

    def test_an_ipv6_address_stands_in_brackets(self) -> None:
        """Otherwise nobody knows where the port begins."""
        self.assertEqual(destination("[2001:db8::1]:443"), ("2001:db8::1", 443))

    def test_anything_else_is_refused(self) -> None:
        """With an example of how it must look."""
        for text in ("", "example.org", ":80", "example.org:", "example.org:http", "2001:db8::1:443", "a:0", "a:65536"):
            self.assertRaises(argparse.ArgumentTypeError, destination, text)


class OnionTests(SynchronousTestCase):
    """Names of onion services."""

    def test_there_is_no_exit_to_show(self) -> None:
        """A circuit that some exit ends would say nothing about the service."""
        for name in ("a" * 56 + ".torpydo", "WWW.TORPYDO."):
            parser = argparse.ArgumentParser()
            path.arguments(parser)
            running = Deferred.fromCoroutine(path.run(Clock(), parser.parse_args([f"{name}:80"])))
            error = self.failureResultOf(running, ConfigurationError).value
            self.assertIn("torpydo fetch", str(error))


class HopTests(SynchronousTestCase):
    """--hops."""

    def test_from_one_to_eight(self) -> None:
        """A circuit has room for eight."""
        self.assertEqual([hop_count(str(number)) for number in range(1, 9)], list(range(1, 9)))

    def test_anything_else_is_refused(self) -> None:
        """Nothing is taken for a number that is none."""
        for text in ("0", "9", "-1", "", "three", "²"):
            self.assertRaises(argparse.ArgumentTypeError, hop_count, text)


class PoolTests(SynchronousTestCase):
    """Which network."""

    def open(self, *arguments: str) -> Deferred[None]:
        """Open a client with these options."""
        parser = argparse.ArgumentParser()
        client_arguments(parser)
        options = parser.parse_args(arguments, argparse.Namespace(verbose=False))

        async def enter() -> None:
            async with open_client(Clock(), options):
                raise AssertionError("a client without a network")

        return Deferred.fromCoroutine(enter())

    def test_without_a_pool_it_says_how_to_name_one(self) -> None:
        """There is no network that everybody means."""
        self.patch_environment("")
        error = self.failureResultOf(self.open(), ConfigurationError).value
        self.assertIn("--pool", str(error))
        self.assertIn(POOLS_VARIABLE, str(error))

    def test_the_environment_may_name_the_pools(self) -> None:
        """For those who have one network and many commands."""
        self.patch_environment("http://192.0.2.1:80/")
        error = self.failureResultOf(self.open(), PoolURLError).value
        self.assertNotIn(POOLS_VARIABLE, str(error))

    def test_an_option_counts_more_than_the_environment(self) -> None:
        """What was typed is what was meant."""
        self.patch_environment("http://127.0.0.1:80/")
        self.failureResultOf(self.open("--pool=http://192.0.2.1:80/"), PoolURLError)

    def patch_environment(self, value: str) -> None:
        """Set the variable for one test."""
        self.patch(os, "environ", {POOLS_VARIABLE: value})
