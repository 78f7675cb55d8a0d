"""What a running client, node or pool says about itself: JSON lines on a Unix socket in its state directory.

The socket has mode 0600 in a directory of mode 0700, so only the service's own user gets to it. One request is one
line, its answer is one line: ``status`` gives the status as an object; anything else gives ``{"error": …}``.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
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

__all__ = ["STATUS_SOCKET", "HasStatus", "StatusFactory", "read_status", "remove_left_socket", "status_endpoint"]

STATUS_SOCKET = "status.sock"

# A request is one word; an answer names every circuit of a client.
REQUEST_LIMIT = 100
ANSWER_LIMIT = 16 * 1024 * 1024
# Bytes of the path of a socket (Linux); with a longer one Twisted fails in a way of its own.
PATH_LIMIT = 107
# Seconds for one question and its answer.
ANSWER_TIME = 10.0


class HasStatus(TypingProtocol):
    """A client, a node, a pool or their process, as far as this module knows it."""

    def status(self) -> Any:
        """A frozen attrs value that holds nothing but what JSON can say; ``None``: nothing for now."""


class StatusProtocol(Protocol):
    """Answers one request after the other; hangs up on a line that is too long, and after a time of silence."""

    def __init__(self, sources: Sequence[HasStatus], reactor: IReactorTime) -> None:
        self._sources = sources
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
            parts = [source.status() for source in self._sources]
            facts = {name: value for part in parts if part is not None for name, value in attrs.asdict(part).items()}
            return json.dumps(facts).encode()
        return json.dumps({"error": "the only request is: status"}).encode()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()


class StatusFactory(Factory):
    """Serves a status.

    :param service: the running client, node or pool
    :param also: what has more to say; all of it is one answer, in this order
    """

    noisy = False

    def __init__(self, service: HasStatus, reactor: IReactorTime, *also: HasStatus) -> None:
        self._sources = (service, *also)
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> StatusProtocol:
        protocol = StatusProtocol(self._sources, self._reactor)
        protocol.factory = self
        return protocol


def status_endpoint(reactor: IReactorUNIX, state_dir: str) -> UNIXServerEndpoint:
    """Where a service with this state directory serves its status.

    Without Twisted's lock beside the socket: it names a process, and after a loss of power, or in a container, that is
    another one or this one. The lock of the state directory has no such memory; see :func:`remove_left_socket`.
    """
    return UNIXServerEndpoint(reactor, _socket_path(state_dir), mode=0o600, wantPID=False)


def remove_left_socket(state_dir: str) -> None:
    """Remove the socket that a killed process left. Only for who has the lock of the directory: nobody listens then.

    :raises OSError: if that is impossible
    """
    path = _socket_path(state_dir)
    # Earlier versions had a lock of Twisted's beside it.
    for left, is_ours in ((path, stat.S_ISSOCK), (f"{path}.lock", stat.S_ISLNK)):
        try:
            if is_ours(os.lstat(left).st_mode):
                os.unlink(left)
        except FileNotFoundError:
            pass


def _socket_path(state_dir: str) -> str:
    # As the state directory itself is found, of which "~" may be the beginning.
    return os.path.join(os.path.abspath(os.path.expanduser(state_dir)), STATUS_SOCKET)


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
    """Ask the client, node or pool that uses *state_dir* for its status.

    :raises StateError: if none answers there
    """
    path = _socket_path(state_dir)
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise StateError(f"{path}: no socket has a path of more than {PATH_LIMIT} bytes; choose a shorter --state-dir")
    question = _Question()
    try:
        await connectProtocol(UNIXClientEndpoint(reactor, path, timeout=ANSWER_TIME), question)
        line, end, _ = (await question.answer.addTimeout(ANSWER_TIME, reactor)).partition(b"\n")
    except (ConnectError, TimeoutError) as error:
        raise StateError(f"nothing answers at {path}; does it run, with this --state-dir?") from error
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StateError(f"what answers at {path} is not torpydo") from error
    if not end or not isinstance(answer, dict):
        raise StateError(f"what answers at {path} is not torpydo")
    return answer
