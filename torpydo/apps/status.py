"""What a running client says about itself: JSON lines on a Unix socket in its state directory.

The socket has mode 0600 in a directory of mode 0700, so only the client's own user gets to it. One request is one
line, its answer is one line: ``status`` gives the client's status as an object; anything else gives ``{"error": …}``.
"""

from __future__ import annotations

import json
import os.path
from typing import Any
from typing import Protocol as TypingProtocol

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from torpydo.errors import StateError

__all__ = ["STATUS_SOCKET", "HasStatus", "StatusFactory", "read_status", "status_endpoint"]

STATUS_SOCKET = "status.sock"

# A request is one word; an answer names every circuit of the client.
REQUEST_LIMIT = 100
ANSWER_LIMIT = 16 * 1024 * 1024
# Seconds for one question and its answer.
ANSWER_TIME = 10.0


class HasStatus(TypingProtocol):
    """A client, as far as this module knows it."""

    def status(self) -> Any:
        """A frozen attrs value that holds nothing but what JSON can say."""


class StatusProtocol(Protocol):
    """Answers one request after the other; hangs up on a line that is too long, and after a time of silence."""

    def __init__(self, client: HasStatus, reactor: IReactorTime) -> None:
        self._client = client
        self._reactor = reactor
        self._received = b""
        self._silence: IDelayedCall | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._silence = self._reactor.callLater(ANSWER_TIME, self.transport.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None and self._silence is not None
        *lines, self._received = (self._received + data).split(b"\n")
        if any(len(line) > REQUEST_LIMIT for line in [*lines, self._received]):
            self._received = b""
            self.transport.loseConnection()
            return
        for line in lines:
            self._silence.reset(ANSWER_TIME)
            self.transport.write(self._answer(line.strip()) + b"\n")

    def _answer(self, request: bytes) -> bytes:
        if request == b"status":
            return json.dumps(attrs.asdict(self._client.status())).encode()
        return json.dumps({"error": "the only request is: status"}).encode()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()


class StatusFactory(Factory):
    """Serves a client's status.

    :param client: the running client
    """

    noisy = False

    def __init__(self, client: HasStatus, reactor: IReactorTime) -> None:
        self._client = client
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> StatusProtocol:
        protocol = StatusProtocol(self._client, self._reactor)
        protocol.factory = self
        return protocol


def status_endpoint(reactor: IReactorUNIX, state_dir: str) -> UNIXServerEndpoint:
    """Where a client with this state directory serves its status.

    The lock file beside the socket lets a socket be replaced that a killed client left behind.
    """
    return UNIXServerEndpoint(reactor, os.path.join(state_dir, STATUS_SOCKET), mode=0o600, wantPID=True)


class _Question(Protocol):
    def __init__(self) -> None:
        self.answer: Deferred[bytes] = Deferred(lambda _: self._give_up())
        self._received = b""

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"status\n")

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if b"\n" in data or len(self._received) > ANSWER_LIMIT:
            self._give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.callback(self._received)


async def read_status(reactor: Any, state_dir: str) -> dict[str, Any]:
    """Ask the client that uses *state_dir* for its status.

    :raises StateError: if no client answers there
    """
    path = os.path.join(state_dir, STATUS_SOCKET)
    question = _Question()
    try:
        await connectProtocol(UNIXClientEndpoint(reactor, path, timeout=ANSWER_TIME), question)
        line, end, _ = (await question.answer.addTimeout(ANSWER_TIME, reactor)).partition(b"\n")
    except (ConnectError, TimeoutError) as error:
        raise StateError(f"no client answers at {path}; is one running with this --state-dir?") from error
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise StateError(f"what answers at {path} is not a torpydo client") from error
    if not end or not isinstance(answer, dict):
        raise StateError(f"what answers at {path} is not a torpydo client")
    return answer
