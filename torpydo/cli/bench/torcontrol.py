"""The control connection of a tor process: replies and events out of bytes, and circuits built by command.

``ControlParser`` knows only the shape of replies (control-spec.txt, 2.3); ``ControlConnection`` matches them with
commands; ``Circuits`` is all that the benchmark asks of tor: how long a circuit takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from torpydo.errors import CircuitBuildError, RemoteProtocolError

__all__ = ["Circuits", "ControlConnection", "ControlParser", "Reply"]

ASYNCHRONOUS = 650
# Bytes of one reply; the listing of our six nodes is 2 kB. What is longer does not come from a control port.
MOST_BYTES = 1 << 20


@attrs.frozen
class Reply:
    """An answer, or (status 650) an event."""

    status: int
    lines: tuple[str, ...]
    """Without status and line ends; a line that had data has it after a newline."""

    @property
    def is_good(self) -> bool:
        """Whether the command was done."""
        return 200 <= self.status < 300


class ControlParser:
    """Replies out of the bytes of a control connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._size = 0
        self._status: int | None = None
        self._lines: list[str] = []
        self._data: list[str] | None = None

    def receive_data(self, data: bytes) -> list[Reply]:
        """Take bytes as they come.

        :returns: the replies that they complete
        :raises RemoteProtocolError: for bytes that no control port sends
        """
        replies = []
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\r\n", start)) >= 0:
            self._size += end - start
            reply = self._line(self._buffer[start:end].decode(errors="replace"))
            start = end + 2
            if reply is not None:
                replies.append(reply)
        del self._buffer[:start]
        if self._size + len(self._buffer) > MOST_BYTES:
            raise RemoteProtocolError(f"a reply on tor's control port is longer than {MOST_BYTES} bytes")
        return replies

    def _line(self, line: str) -> Reply | None:
        if self._data is not None:
            if line != ".":
                # A full stop at the start of a line of data is doubled.
                self._data.append(line[1:] if line.startswith(".") else line)
                return None
            self._lines[-1] = "\n".join([self._lines[-1], *self._data])
            self._data = None
            return None
        digits, kind, text = line[:3], line[3:4], line[4:]
        status = int(digits) if len(digits) == 3 and digits.isascii() and digits.isdigit() else None
        if status is None or kind not in ("-", "+", " ") or self._status not in (None, status):
            raise RemoteProtocolError(
                "what came is no reply of tor's control port; does another program listen on that port?"
            )
        self._status = status
        self._lines.append(text)
        if kind == "+":
            self._data = []
        if kind != " ":
            return None
        reply = Reply(status, tuple(self._lines))
        self._status, self._lines, self._size = None, [], 0
        return reply


class ControlConnection(Protocol):
    """Commands and their replies, which come in order.

    :ivar on_event: called with each event
    """

    def __init__(self) -> None:
        self.on_event: Callable[[Reply], None] = _ignore
        self._parser = ControlParser()
        self._waiting: deque[Deferred[Reply]] = deque()
        self._lost: RemoteProtocolError | None = None

    def command(self, line: str) -> Deferred[Reply]:
        """Send a command.

        :returns: fires with the reply, good or not; fails if the connection is lost
        """
        if self._lost is not None:
            return fail(self._lost)
        # The reply comes even if nobody wants it any more, so a cancelled command keeps its place.
        answer: Deferred[Reply] = Deferred()
        self._waiting.append(answer)
        assert self.transport is not None, "commands are for a connection that was made"
        self.transport.write(line.encode() + b"\r\n")
        return answer

    async def ask(self, line: str) -> Reply:
        """Send a command that must succeed.

        :raises RemoteProtocolError: with what tor said, if it does not
        """
        reply = await self.command(line)
        if not reply.is_good:
            raise RemoteProtocolError(f"tor refused '{line.split()[0]}': {reply.status} {' '.join(reply.lines)}")
        return reply

    def close(self) -> None:
        """End the connection; whoever waits for a reply is told."""
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            replies = self._parser.receive_data(data)
        except RemoteProtocolError as error:
            self._end(error)
            self.close()
            return
        for reply in replies:
            if reply.status == ASYNCHRONOUS:
                self.on_event(reply)
            elif self._waiting:
                answer = self._waiting.popleft()
                if not answer.called:
                    answer.callback(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(RemoteProtocolError(f"the connection to tor's control port was lost: {reason.getErrorMessage()}"))

    def _end(self, error: RemoteProtocolError) -> None:
        self._lost = self._lost or error
        waiting, self._waiting = self._waiting, deque()
        for answer in waiting:
            if not answer.called:
                answer.errback(self._lost)


def _ignore(event: Reply) -> None:
    """The event of somebody who asked for none."""


class Circuits:
    """Circuits that are built by command.

    :param connection: authenticated; its events are taken
    :param path: what tor calls the nodes, the first one first
    """

    def __init__(self, connection: ControlConnection, path: Sequence[str]) -> None:
        self._connection = connection
        self._path = list(path)
        self._building: dict[str, Deferred[str]] = {}
        connection.on_event = self._event

    async def listen(self) -> None:
        """Ask tor for the events; once, before anything is built."""
        await self._connection.ask("SETEVENTS CIRC")

    async def build(self) -> str:
        """Build a circuit.

        :returns: tor's number for it
        :raises CircuitBuildError: if it could not be built
        """
        number = await self._launch()
        return await self._when_built(number)

    async def build_many(self, count: int) -> list[str]:
        """Ask for *count* circuits in one turn, and wait for all.

        :raises CircuitBuildError: if one of them could not be built; the others are closed
        """
        results = [Deferred.fromCoroutine(self.build()) for _ in range(count)]
        built: list[str] = []
        failures: list[Failure] = []
        await gatherResults([result.addCallbacks(built.append, failures.append) for result in results])
        if failures:
            await self.close(built)
            raise self._not_built(f"{len(failures)} of {count} were not built: {failures[0].getErrorMessage()}")
        return built

    async def close(self, numbers: Sequence[str]) -> None:
        """Close circuits; those that tor has closed are left alone."""
        await gatherResults([self._connection.command(f"CLOSECIRCUIT {number}") for number in numbers])

    async def _launch(self) -> str:
        reply = await self._connection.ask(f"EXTENDCIRCUIT 0 {','.join(self._path)}")
        word, _, number = reply.lines[-1].partition(" ")
        if word != "EXTENDED" or not number:
            raise RemoteProtocolError(f"tor answered EXTENDCIRCUIT with {reply.lines[-1]!r}")
        return number

    def _when_built(self, number: str) -> Deferred[str]:
        # Its events come after the reply on the same connection, so none was missed.
        building: Deferred[str] = Deferred()
        self._building[number] = building
        return building

    def _event(self, event: Reply) -> None:
        words = event.lines[0].split()
        if len(words) < 3 or words[0] != "CIRC" or words[1] not in self._building:
            return
        if words[2] == "BUILT":
            self._over(words[1], words[1])
        elif words[2] in ("FAILED", "CLOSED"):
            reasons = [word for word in words[3:] if word.startswith(("REASON=", "REMOTE_REASON="))]
            self._over(words[1], Failure(self._not_built(f"tor gave up ({' '.join(reasons) or 'no reason'})")))

    def _over(self, number: str, result: str | Failure) -> None:
        building = self._building.pop(number)
        # Whoever cancelled it wants no result any more.
        if not building.called:
            building.callback(result)

    def _not_built(self, why: str) -> CircuitBuildError:
        return CircuitBuildError(1, len(self._path), "of tor", why)
