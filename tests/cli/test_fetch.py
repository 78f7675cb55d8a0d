"""Tests of torpydo.cli.fetch."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.download import read_url
from torpydo.cli.fetch import AnswerRefused, redirected
from torpydo.errors import TorpydoError


class RedirectionTests(SynchronousTestCase):
    """Where a server may send us."""

    def go(self, start: str, location: str) -> str:
        """The URL that is asked next."""
        return redirected(read_url(start), location).url

    def test_a_relative_place(self) -> None:
        """It is meant from where we are."""
        self.assertEqual(self.go("http://a:81/b/c", "../d?e"), "http://a:81/d?e")

    def test_another_server(self) -> None:
        """A server may send us elsewhere, and to TLS."""
        self.assertEqual(self.go("http://a/b", "https://c/d"), "https://c/d")

    def test_never_from_tls_to_no_tls(self) -> None:
        """Who typed https does not get less."""
        self.assertRaises(AnswerRefused, self.go, "https://a/b", "http://a/c")

    def test_only_to_the_web(self) -> None:
        """Nothing on this computer is opened because a server says so."""
        for location in ("file:///etc/passwd", "ftp://a/b", "http://", "http://a:b:c/", "http://[\udce9::1]/"):
            self.assertRaises(TorpydoError, self.go, "http://a/b", location)
