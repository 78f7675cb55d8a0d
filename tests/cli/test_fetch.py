"""Tests of torpydo.cli.fetch."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.network.test_onions import KEY, OnionTestCase
from torpydo.cli.download import read_url
from torpydo.cli.fetch import AnswerRefused, _answer, redirected
from torpydo.errors import OnionNameError, ServiceNotFound, TorpydoError
from torpydo.onion import OnionName


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


class Page(Resource):
    """A page."""

    def render_GET(self, request: object) -> bytes:
        """Its text."""
        return b"text"


class OnionTests(OnionTestCase):
    """Names of onion services."""

    def answered(self, url: str) -> int:
        """The status of the answer to a visitor."""
        with redirect_stderr(io.StringIO()) as self.err:
            asking = Deferred.fromCoroutine(_answer(self.network.reactor, self.visitor, read_url(url), 3))
            answer, _ = self.network.success(asking)
            answer.drop()
        return int(answer.response.code)

    def test_a_page(self) -> None:
        """No exit is asked, and no path to one is shown."""
        root = Resource()
        root.putChild(b"page", Page())
        name = self.create((80, Site(root))).name
        self.assertEqual(self.answered(f"http://{name}/page"), 200)
        self.assertIn("rendezvous", self.err.getvalue())
        self.network.advance(10)

    def test_a_page_that_is_not_there(self) -> None:
        """The errors are those of the name."""
        name = str(OnionName.of(KEY))
        self.assertRaises(ServiceNotFound, self.answered, f"http://{name}/")
        self.assertRaises(OnionNameError, self.answered, f"http://x{name}/")
