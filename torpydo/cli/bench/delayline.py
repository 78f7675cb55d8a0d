"""A delay line before one node, a process: ``python -m torpydo.cli.bench.delayline PORT TO --delay MS --rate MBIT``.

It listens on 127.0.0.1:PORT and forwards every connection to 127.0.0.1:TO. Each direction of each connection is MS
long, and all connections together carry MBIT in each direction. When what comes out is decided by ``pacing``.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Sequence

import attrs

from torpydo.cli.bench.dialing import reset
from torpydo.cli.bench.pacing import Bottleneck, Lane
from torpydo.cli.bench.systems import Conditions
from torpydo.cli.constants import LOOPBACK

__all__ = ["DelayLine", "main"]

READ = 1 << 17
# What is read at once comes out at once: with a limited rate it must not be long.
SLOW_READ = 1 << 14
# With a limited rate: what the system may hold before the line, so that its buffers are not a second, longer queue.
SLOW_BUFFER = 1 << 16
BACKLOG = 1024
# The system's waits end on whole milliseconds, late and never early: half of one is given away beforehand, so that
# what comes out is right on average.
HALF_TICK = 0.0005


@attrs.define(eq=False)
class Way:
    """One direction of one connection: from one socket to another."""

    source: socket.socket
    sink: socket.socket
    lane: Lane
    blocked: bool = False
    """Whether the sink takes nothing now."""
    shut: bool = False
    """Whether the end has been passed on."""
    gone: bool = False
    """Whether nothing more can be heard of the source."""
    events: int = select.EPOLLIN
    """What is asked about the source."""

    @property
    def reading(self) -> bool:
        """Whether the source is asked for more."""
        return bool(self.events & select.EPOLLIN)


@attrs.define(eq=False)
class DelayLine:
    """The line of one node.

    :param target: the node's port
    :param delay: seconds
    :param rate: bytes a second in each direction, or ``None``
    """

    listener: socket.socket
    target: int
    delay: float
    rate: float | None
    _poll: select.epoll = attrs.field(factory=select.epoll)
    _out: dict[int, Way] = attrs.field(factory=dict)
    """By the descriptor of the source: the way from it."""
    _into: dict[int, Way] = attrs.field(factory=dict)
    """By the descriptor of the sink: the way to it."""
    _ways: list[Way] = attrs.field(factory=list)
    _inward: Bottleneck = attrs.field(init=False)
    _outward: Bottleneck = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inward, self._outward = Bottleneck(self.rate), Bottleneck(self.rate)

    def run(self) -> None:
        """Forward until the process is ended."""
        self.listener.setblocking(False)
        self._poll.register(self.listener, select.EPOLLIN)
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        for descriptor, events in self._poll.poll(self._wait()):
            if descriptor == self.listener.fileno():
                self._accept()
                continue
            into, out = self._into.get(descriptor), self._out.get(descriptor)
            if into is not None and events & select.EPOLLOUT:
                into.blocked = False
            if out is not None and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(out)
                if out.lane.has_end and events & select.EPOLLHUP and not out.gone:
                    # It would be told again and again.
                    out.gone = True
                    self._poll.unregister(descriptor)
        now = time.monotonic() + HALF_TICK
        for way in list(self._ways):
            if way.source.fileno() >= 0:
                self._write(way, now)
        # Afterwards: what is asked about one socket depends on both directions.
        for way in self._ways:
            self._ask(way, now)

    def _wait(self) -> float | None:
        """Seconds until something is due, or may be read again."""
        now = time.monotonic() + HALF_TICK
        moments = []
        for way in self._ways:
            due = None if way.blocked or way.shut else way.lane.next_due()
            room = None if way.reading else way.lane.room_at(now)
            moments += [moment for moment in (due, room) if moment is not None]
        return max(0.0, min(moments) - now) if moments else None

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.socket()
        try:
            if self.rate is not None:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
            far.connect((LOOPBACK, self.target))
        except OSError:
            # The node is not there: whoever connected hears it as a node that hangs up.
            far.close()
            reset(near)
            return
        for source, sink, bottleneck in ((near, far, self._inward), (far, near, self._outward)):
            source.setblocking(False)
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way = Way(source, sink, Lane(bottleneck, self.delay))
            self._ways.append(way)
            self._out[source.fileno()] = self._into[sink.fileno()] = way
            self._poll.register(source, select.EPOLLIN)

    def _read(self, way: Way) -> None:
        try:
            data = way.source.recv(READ if self.rate is None else SLOW_READ)
        except BlockingIOError:
            return
        except OSError:
            self._tear(way)
            return
        now = time.monotonic()
        if data:
            way.lane.put(data, now)
        elif not way.lane.has_end:
            way.lane.end(now)

    def _write(self, way: Way, now: float) -> None:
        while not way.blocked and (data := way.lane.take(now)) is not None:
            try:
                way.lane.taken(way.sink.send(data))
            except BlockingIOError:
                way.blocked = True
            except OSError:
                self._tear(way)
                return
        if way.lane.ended(now) and not way.shut:
            self._shut(way)

    def _ask(self, way: Way, now: float) -> None:
        """Ask the system to tell what can be done now, and nothing else."""
        if way.gone:
            return
        room = way.lane.room_at(now)
        reading = room is not None and room <= now
        back = self._into[way.source.fileno()]
        events = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if back.blocked else 0)
        if events != way.events:
            way.events = events
            self._poll.modify(way.source, events)

    def _shut(self, way: Way) -> None:
        way.shut = True
        if self._out[way.sink.fileno()].shut:
            self._forget(way)
            way.source.close()
            way.sink.close()
            return
        try:
            way.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._tear(way)

    def _tear(self, way: Way) -> None:
        self._forget(way)
        reset(way.source)
        reset(way.sink)

    def _forget(self, way: Way) -> None:
        for ways in (self._out, self._into):
            for end in (way.source, way.sink):
                one = ways.pop(end.fileno())
                if one in self._ways:
                    self._ways.remove(one)
                    if not one.gone:
                        self._poll.unregister(one.source)


def main(argv: Sequence[str]) -> None:
    """Forward until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.delayline", allow_abbrev=False)
    parser.add_argument("port", type=int, metavar="PORT", help="to listen on")
    parser.add_argument("to", type=int, metavar="TO", help="the port to forward to")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS")
    parser.add_argument("--rate", type=float, metavar="MBIT")
    options = parser.parse_args(argv)
    conditions = Conditions(options.delay / 1000, options.rate)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if conditions.byte_rate is not None:
            # Connections that are accepted have it from the listener.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        listener.bind((LOOPBACK, options.port))
        listener.listen(BACKLOG)
        DelayLine(listener, options.to, conditions.delay, conditions.byte_rate).run()


if __name__ == "__main__":
    main(sys.argv[1:])
