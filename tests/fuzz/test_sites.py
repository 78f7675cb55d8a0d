"""The entry points for sites find answers that are wrong, be they the first on a connection or a later one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.pool import web
from torpydo.testing.fuzz import TARGETS
from torpydo.testing.fuzz.cursor import scripted
from torpydo.testing.fuzz.target import Finding

TIME, LISTING = (b"GET /v1/%s HTTP/1.1\r\nHost: pool\r\n\r\n" % name for name in (b"time", b"listing"))


class PoolTests(SynchronousTestCase):
    """A pool whose answers are wrong."""

    def run_pool(self, sizes: bytes = b"") -> None:
        """Two requests on one connection."""
        TARGETS["site-pool"].run(scripted(sizes) + TIME + LISTING)

    def spoil(self, *answers: web.Answer) -> None:
        """Whoever asks for a listing gets these, one after the other."""
        rest = iter(answers)
        self.patch(web.PoolResource, "_listing", lambda resource, published, request: next(rest))

    def test_as_it_is(self) -> None:
        """Both requests are answered, the same however they are cut."""
        self.run_pool()
        self.run_pool(b"\3")

    def test_another_second_answer(self) -> None:
        """It is found however far behind it differs."""
        self.spoil(web.Answer(200, b"one"), web.Answer(200, b"two"))
        with self.assertRaisesRegex(Finding, "answers something else"):
            self.run_pool(b"\3")

    def test_a_second_answer_that_is_an_error(self) -> None:
        """The first one was in order."""
        self.spoil(web.Answer(500, b"no"), web.Answer(500, b"no"))
        with self.assertRaisesRegex(Finding, "cannot do"):
            self.run_pool()
