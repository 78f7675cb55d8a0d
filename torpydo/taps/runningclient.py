"""A client that runs as long as its process does: what the taps that have one share.

It keeps trying while pools or nodes are down, says so, and is closed in time whatever a node does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client import Client, ClientLimits, ClientStatus
from torpydo.errors import CircuitError, TorpydoError

__all__ = ["STOP_TIME", "ClientChoice", "RunningClient"]

STOP_TIME = 5.0
"""Seconds in which a stop ends, whatever a node does (SECURITY Z3)."""


class ClientChoice(Protocol):
    """What somebody chooses who runs a client."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Pool URLs."""

    @property
    def threshold(self) -> int | None:
        """How many of them must list a node; ``None`` is the majority."""

    @property
    def state_dir(self) -> str:
        """Where listings and the guard survive."""

    @property
    def limits(self) -> ClientLimits:
        """What it bounds."""


class RunningClient(Service):
    """Opens a client at the start and closes it at the stop.

    :param reactor: keeps time, connects, listens
    :param start: makes a client that gets ready by itself; for tests
    :cvar role: what the log calls it
    """

    log = Logger()
    role = "client"

    def __init__(self, reactor: Any, start: Callable[..., Client] = Client.start) -> None:
        self._reactor = reactor
        self._start = start
        self._client: Client | None = None

    def _open(self, chosen: ClientChoice, **more: Any) -> Client:
        """Start the client.

        :param more: options of ``Client.start`` that not every tap has
        :raises TorpydoError: if the state cannot be used
        """
        self._client = self._start(
            self._reactor, chosen.pools, chosen.state_dir, pool_threshold=chosen.threshold, limits=chosen.limits, **more
        )
        return self._client

    def status(self) -> ClientStatus | None:
        """The client at this moment; ``None`` while it does not run."""
        return None if self._client is None else self._client.status()

    def _not_ready(self, failure: Failure) -> None:
        """Say why no circuit can be built yet; a failure that is not of the network is shown in full."""
        if not failure.check(TorpydoError):
            self.log.failure("the client is not ready", failure)
        elif self.running:
            # A log does not name the guard (SECURITY I1); who may ask for the status may know it.
            named = failure.check(CircuitError) is not None
            reason = "no circuit can be built, 'torpydo status' says why" if named else failure.getErrorMessage()
            self.log.warn("the {role} is not ready and keeps trying: {reason}", role=self.role, reason=reason)

    def _close(self, *others: Deferred[Any]) -> Deferred[None]:
        """Close the client.

        :param others: what ends with it
        :return: fires when all have ended, or the time is over
        """
        client, self._client = self._client, None
        ends = [*others] if client is None else [*others, client.close()]
        done: Deferred[Any] = DeferredList(ends, consumeErrors=True)
        # A link that does not end in time ends with the process.
        done.addTimeout(STOP_TIME, self._reactor, onTimeoutCancel=lambda value, seconds: None)
        return done.addCallback(lambda ignored: None)
