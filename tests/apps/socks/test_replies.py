"""Which reply says which failure."""

from __future__ import annotations

from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase

from torpydo import errors
from torpydo.apps.destinations import Why
from torpydo.apps.socks.messages import Reply
from torpydo.apps.socks.replies import REFUSALS, reply_for

EXPECTED: dict[BaseException, int] = {
    errors.ExitPolicyRefused(): 2,
    errors.NoExit(25): 2,
    errors.NetworkUnreachable(): 3,
    errors.HostUnreachable(): 4,
    errors.ResolveFailed(): 4,
    errors.ConnectRefused(): 5,
    errors.ConnectTimeout(): 6,
    errors.OnionNameError(): 4,
    errors.ServiceNotFound(): 4,
    errors.ServiceUnreachable(): 4,
    errors.StreamReset(): 1,
    errors.NodeOverloaded(): 1,
    errors.StreamFailed(): 1,
    errors.TooFewNodes(3, 2): 1,
    errors.PathError(): 1,
    errors.CircuitBuildError(2, 3, "node", "refused"): 1,
    errors.CircuitLost(): 1,
    errors.LinkError(): 1,
    errors.PoolUnreachable(): 1,
    ConnectError(): 1,
    RuntimeError(): 1,
}


class ReplyForTests(SynchronousTestCase):
    """The table."""

    def test_codes(self) -> None:
        """Each failure has its code."""
        for error, code in EXPECTED.items():
            self.assertEqual(reply_for(error), code, repr(error))

    def test_the_three_differ(self) -> None:
        """Refused, timed out and not resolved are told apart."""
        codes = {reply_for(kind()) for kind in (errors.ConnectRefused, errors.ConnectTimeout, errors.ResolveFailed)}
        self.assertEqual(len(codes), 3)

    def test_subclasses(self) -> None:
        """A class that a client derives counts as what it derives from."""

        class Derived(errors.ConnectRefused, ConnectError):
            """Both trees."""

        self.assertEqual(reply_for(Derived()), Reply.REFUSED)

    def test_every_refusal_has_a_code(self) -> None:
        """No reason for refusing a destination is without a code."""
        self.assertEqual(set(REFUSALS), set(Why))
        self.assertNotIn(Reply.SUCCEEDED, REFUSALS.values())
