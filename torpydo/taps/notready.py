"""What the log says of a client that cannot build circuits yet. Called by the taps that have one."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.errors import CircuitError, TorpydoError

__all__ = ["tell_not_ready"]


def tell_not_ready(log: Logger, what: str, failure: Failure, *, running: bool) -> None:
    """Say why *what* is not ready; a failure that is not of the network is shown in full.

    :param running: nothing else is said of one that was stopped
    """
    if not failure.check(TorpydoError):
        log.failure("the client is not ready", failure)
    elif running:
        # A log does not name the guard (SECURITY I1); who may ask for the status may know it.
        named = failure.check(CircuitError) is not None
        reason = "no circuit can be built, 'torpydo status' says why" if named else failure.getErrorMessage()
        log.warn("the {what} is not ready and keeps trying: {reason}", what=what, reason=reason)
