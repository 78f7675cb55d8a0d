"""Tests of torpydo.client.failures."""

from __future__ import annotations

from twisted.internet import error as twisted_errors
from twisted.trial.unittest import SynchronousTestCase

from torpydo import errors
from torpydo.client.failures import as_connect_error


def every_error() -> list[errors.TorpydoError]:
    """One of each kind."""
    special: dict[type[errors.TorpydoError], errors.TorpydoError] = {
        errors.TooFewNodes: errors.TooFewNodes(3, 2),
        errors.NoExit: errors.NoExit(25),
        errors.CircuitBuildError: errors.CircuitBuildError(2, 3, "NICK", "no answer"),
    }
    kinds = [errors.TorpydoError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    ours = [kind for kind in kinds if kind.__module__ == errors.__name__]
    return [special.get(kind) or kind("the text") for kind in ours]


class ConnectErrorTests(SynchronousTestCase):
    """Errors at the boundary."""

    def test_every_error_is_of_both_families(self) -> None:
        """It is still what it was, and a ``ConnectError``, with the same text."""
        for error in every_error():
            both = as_connect_error(error)
            self.assertIsInstance(both, twisted_errors.ConnectError)
            self.assertEqual(str(both), str(error))
            self.assertEqual(both.exit_status, error.exit_status)

    def test_no_kind_is_lost(self) -> None:
        """It can still be caught by its own class, but for those that never reach an application."""
        never = (errors.ListenError, errors.DescriptorError, errors.CryptoError, errors.ItemError)
        for error in every_error():
            if not isinstance(error, never) and type(error) is not errors.ProtocolError:
                self.assertIsInstance(as_connect_error(error), type(error))

    def test_twisteds_own_kinds(self) -> None:
        """What an existing program catches."""
        for error, kind in (
            (errors.ConnectRefused("x"), twisted_errors.ConnectionRefusedError),
            (errors.ConnectTimeout("x"), twisted_errors.TimeoutError),
            (errors.ResolveFailed("x"), twisted_errors.UnknownHostError),
            (errors.HostUnreachable("x"), twisted_errors.NoRouteError),
            (errors.NetworkUnreachable("x"), twisted_errors.NoRouteError),
        ):
            self.assertIsInstance(as_connect_error(error), kind)

    def test_fields_and_cause_stay(self) -> None:
        """Which hop, and why."""
        cause = errors.LinkError("refused")
        error = errors.CircuitBuildError(2, 3, "NICK", "no answer")
        error.__cause__ = cause
        both = as_connect_error(error)
        assert isinstance(both, errors.CircuitBuildError)
        self.assertEqual((both.hop, both.hops, both.node, both.why), (2, 3, "NICK", "no answer"))
        self.assertIs(both.__cause__, cause)

    def test_what_is_both_already_stays(self) -> None:
        """Two boundaries are as good as one."""
        both = as_connect_error(errors.ConnectRefused("x"))
        self.assertIs(as_connect_error(both), both)
