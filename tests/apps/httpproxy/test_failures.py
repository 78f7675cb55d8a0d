"""Which status says which failure."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase

from torpydo import errors
from torpydo.apps.destinations import Why
from torpydo.apps.httpproxy.failures import BAD_ANSWER, FAILURES, NO_ANSWER, failure_of, forbidden, refusal_answer

EXPECTED: list[tuple[BaseException, int, str]] = [
    (errors.ExitPolicyRefused(), 403, "exit-policy"),
    (errors.ResolveFailed(), 502, "resolve-failed"),
    (errors.ConnectRefused(), 502, "connect-refused"),
    (errors.ConnectTimeout(), 504, "timeout"),
    (errors.HostUnreachable(), 502, "host-unreachable"),
    (errors.NetworkUnreachable(), 502, "network-unreachable"),
    (errors.OnionNameError(), 502, "onion-name"),
    (errors.ServiceNotFound(), 502, "service-not-found"),
    (errors.ServiceUnreachable(), 504, "service-unreachable"),
    (errors.StreamReset(), 502, "reset"),
    (errors.NodeOverloaded(), 503, "overloaded"),
    (errors.StreamFailed(), 502, "failed"),
    (errors.TooFewNodes(3, 2), 503, "too-few-nodes"),
    (errors.NoExit(25), 503, "no-exit"),
    (errors.PathError(), 503, "no-path"),
    (errors.PoolUnreachable(), 503, "no-directory"),
    (errors.CircuitBuildError(2, 3, "node", "refused"), 503, "circuit"),
    (errors.CircuitLost(), 503, "circuit"),
    (errors.LinkError(), 503, "circuit"),
    (ConnectError(), 502, "failed"),
    (RuntimeError("internal"), 502, "failed"),
]


class FailureTests(SynchronousTestCase):
    """The tables."""

    def test_statuses(self) -> None:
        """Each failure has its status and its word."""
        for error, status, word in EXPECTED:
            refusal = failure_of(error)
            self.assertEqual((refusal.status, refusal.word), (status, word), repr(error))

    def test_the_document_has_them_all(self) -> None:
        """Whoever gets a word finds out what it means."""
        page = (Path(__file__).parents[3] / "docs" / "howto" / "proxies.rst").read_text()
        words = {refusal.word for refusal in (*FAILURES.values(), NO_ANSWER, BAD_ANSWER, *map(forbidden, Why))}
        self.assertEqual({word for word in words if f"``{word}``" not in page}, set())

    def test_the_three_differ(self) -> None:
        """Refused, timed out and not resolved differ in word and in text."""
        three = [failure_of(kind()) for kind in (errors.ConnectRefused, errors.ConnectTimeout, errors.ResolveFailed)]
        self.assertEqual((len({r.word for r in three}), len({r.text for r in three})), (3, 3))

    def test_the_error_speaks(self) -> None:
        """What our own error says is in the text; a foreign one's words are not."""
        self.assertIn("hop 2 of 3, node n: why", failure_of(errors.CircuitBuildError(2, 3, "n", "why")).text)
        self.assertNotIn("internal", failure_of(RuntimeError("internal")).text)

    def test_forbidden(self) -> None:
        """A destination that is refused here is told from one that the exit refuses."""
        self.assertEqual(
            [(forbidden(why).status, forbidden(why).word) for why in Why],
            [
                (403, "special-destination"),
                (403, "private-destination"),
                (400, "bad-destination"),
                (400, "bad-destination"),
            ],
        )

    def test_answer(self) -> None:
        """The answer is a whole HTTP message of plain text; for HEAD it has no body."""
        refusal = failure_of(errors.ConnectRefused())
        head, body = refusal_answer(refusal, head_only=False).split(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain"))
        self.assertIn(b"\r\nX-Torpydo-Error: connect-refused\r\n", head)
        self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head)
        self.assertEqual(refusal_answer(refusal, head_only=True), head + b"\r\n\r\n")
