"""Bulk transfers over blocking sockets: downloads, several at once, and uploads, for a time or an amount.

One thread receives for all sockets of a load: it takes less of the processors than a thread for each.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from torpydo.cli.bench.dialing import Dialer, reset
from torpydo.cli.bench.marks import Marks
from torpydo.cli.bench.server import REPORT, SINK, SOURCE, TOKEN_SIZE
from torpydo.errors import StreamFailed

__all__ = ["Downloads", "Extent", "dial_all", "upload"]

BUFFER = 1 << 20
# A wake-up for this many bytes at the least: sources do not end, so nothing waits for the last ones.
LOW_WATER = 1 << 15
SEND = 1 << 18
AHEAD = 64_000_000
"""Bytes that an upload may be ahead of its destination. Tor's client can take 700 MB from a socket in three seconds,
and then delivers them for minutes, whether or not anybody still waits for them."""
ASK_PAUSE = 0.01
"""Seconds until an upload that is so far ahead asks again."""
DRAIN = 60.0
"""Seconds for an upload's last bytes to arrive or be dropped, so that they are not under way in the next load."""


@attrs.frozen
class Extent:
    """How long a transfer goes on: until either is reached."""

    seconds: float
    size: int


def dial_all(dialer: Dialer, users: Sequence[str]) -> list[socket.socket]:
    """A connection for each user, opened at the same time."""
    with ThreadPoolExecutor(len(users)) as pool:
        return list(pool.map(dialer.dial, users))


@attrs.define(eq=False)
class Downloads:
    """Downloads that start together; :meth:`run` receives them, in the calling thread.

    :param connections: fresh ones; they are closed at the end
    """

    connections: Sequence[socket.socket]
    all: Marks = attrs.field(init=False, factory=lambda: Marks(0.0))
    each: list[int] = attrs.field(init=False, factory=list)
    """Bytes that each connection brought."""
    _stopped: threading.Event = attrs.field(init=False, factory=threading.Event)

    def stop(self) -> None:
        """Make :meth:`run` end, from another thread."""
        self._stopped.set()

    def run(self, extent: Extent) -> Marks:
        """Receive.

        :raises StreamFailed: if a connection ends before its time
        """
        self.each = [0] * len(self.connections)
        poll = select.epoll()
        try:
            for connection in self.connections:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER)
                poll.register(connection, select.EPOLLIN)
            numbers = {connection.fileno(): number for number, connection in enumerate(self.connections)}
            self.all = Marks(time.monotonic())
            for connection in self.connections:
                connection.sendall(SOURCE)
            self._receive(poll, numbers, extent)
        except OSError as error:
            raise StreamFailed(f"a download was torn: {error}") from None
        finally:
            poll.close()
            for connection in self.connections:
                reset(connection)
        return self.all

    def _receive(self, poll: select.epoll, numbers: dict[int, int], extent: Extent) -> None:
        buffer = bytearray(BUFFER)
        end = self.all.start + extent.seconds
        while not self._stopped.is_set():
            left = end - time.monotonic()
            if left <= 0 or self.all.total >= extent.size:
                return
            for descriptor, _ in poll.poll(min(left, 0.1)):
                number = numbers[descriptor]
                try:
                    size = self.connections[number].recv_into(buffer)
                except BlockingIOError:
                    continue
                if not size:
                    raise StreamFailed(f"download {number + 1} of {len(numbers)} ended before its time")
                self.each[number] += size
                self.all.add(size, time.monotonic())


def upload(dialer: Dialer, user: str, extent: Extent) -> Marks:
    """Send, and return what the destination counted; its clock is the same as ours."""
    token = secrets.token_bytes(TOKEN_SIZE)
    block = bytes(SEND)
    connection = dialer.dial(user)
    destination = Counting(lambda: _report(dialer, token))
    try:
        start = time.monotonic()
        connection.sendall(SINK + token)
        sent = send(lambda: connection.send(block), extent, lambda: destination.report().arrived)
        if sent >= extent.size:
            destination.until(lambda report: report.arrived >= sent, "has not arrived")
    except OSError as error:
        raise StreamFailed(f"an upload was torn: {error}") from None
    finally:
        reset(connection)
    # What is still under way would take its share of the next load.
    report = destination.until(lambda report: report.ended, "has not ended")
    return Marks(start, report.times, report.totals)


def send(
    push: Callable[[], int],
    extent: Extent,
    arrived: Callable[[], int],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send until *extent* is reached, and never much more than ``AHEAD`` before what has arrived.

    :param push: sends some bytes, and returns how many
    :param arrived: asks the destination; only when that may be needed
    :returns: bytes sent
    """
    end = clock() + extent.seconds
    sent = known = 0
    while sent < extent.size and clock() < end:
        if sent - known >= AHEAD:
            known = arrived()
            if sent - known >= AHEAD:
                sleep(ASK_PAUSE)
                continue
        sent += push()
    return sent


@attrs.frozen
class Report:
    """What the destination has counted of one upload."""

    ended: bool
    times: list[float]
    totals: list[int]

    @property
    def arrived(self) -> int:
        """Bytes."""
        return self.totals[-1] if self.totals else 0


@attrs.frozen
class Counting:
    """What the destination says of one upload, for as long as somebody waits for it.

    :param report: asks it
    """

    report: Callable[[], Report]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def until(self, true: Callable[[Report], bool], what: str) -> Report:
        """Ask until it is true.

        :param what: what an upload has not done, for the error
        :raises StreamFailed: if it is not true in time; a figure of what comes next would not be one
        """
        give_up = self.clock() + DRAIN
        while not true(report := self.report()):
            if self.clock() > give_up:
                raise StreamFailed(
                    f"an upload {what} at its destination within {DRAIN:.0f} s; {report.arrived} bytes of it are there"
                )
            self.sleep(0.05)
        return report


def _report(dialer: Dialer, token: bytes) -> Report:
    with dialer.straight().dial("") as connection:
        connection.sendall(REPORT + token)
        text = b""
        while data := connection.recv(BUFFER):
            text += data
    return Report(**json.loads(text))

