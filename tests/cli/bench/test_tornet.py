"""Tests of torpydo.cli.bench.tornet and torkeys: what needs no tor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.torkeys import TorPrograms
from torpydo.cli.bench.tornet import until_vote
from torpydo.cli.bench.torrc import VOTING_DELAY, VOTING_INTERVAL
from torpydo.errors import ConfigurationError


class UntilVoteTests(SynchronousTestCase):
    """When a network is started."""

    @given(st.floats(0, 4e9))
    def test_it_starts_early_enough_for_the_vote(self, now: float) -> None:
        """Relays have at least half of the time before a vote to make themselves known, and nobody waits long."""
        wait = until_vote(now)
        self.assertTrue(0 <= wait <= VOTING_INTERVAL)
        since = (now + wait) % VOTING_INTERVAL
        # The clock's last digits may put it just before the interval instead of at its beginning.
        self.assertTrue(since <= VOTING_DELAY or since > VOTING_INTERVAL - 1e-3)


class TorProgramsTests(SynchronousTestCase):
    """Finding tor."""

    def program(self, directory: FilePath[str], name: str) -> None:
        """Put something executable there."""
        place = directory.child(name)
        place.setContent(b"#!/bin/sh\n")
        place.chmod(0o755)

    def test_both_programs_are_found(self) -> None:
        """Wherever they are."""
        directory = FilePath(self.mktemp())
        directory.makedirs()
        self.program(directory, "tor")
        self.program(directory, "tor-gencert")
        programs = TorPrograms.find(directory.path)
        self.assertEqual(programs.tor, directory.child("tor").path)
        self.assertEqual(programs.gencert, directory.child("tor-gencert").path)

    def test_a_missing_tor_is_named_with_a_remedy(self) -> None:
        """What is missing, how to get it, and how to do without."""
        directory = FilePath(self.mktemp())
        directory.makedirs()
        self.program(directory, "tor")
        error = self.assertRaises(ConfigurationError, TorPrograms.find, directory.path)
        self.assertIn("'tor-gencert', which is not installed; install the package 'tor'", str(error))
        self.assertEqual(error.exit_status, 2)
