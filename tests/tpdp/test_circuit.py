"""Whole circuits against a plain model: whatever is done in whatever order, both ends see what the model says.

The model of a stream is two byte strings that are known in advance, how much of each was sent and delivered, and
who has closed what. Hypothesis chooses the moves, including how far cells get before the next one.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import ACK_INTERVAL, BULK, CELL, STREAM_CREDIT, EndReason
from torpydo.tpdp.ends import CircuitEnd
from torpydo.tpdp.events import (
    EndEvent,
    PongReceived,
    ResolveRequested,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamRequested,
    StreamResolved,
    StreamWritable,
)

PEER = Address(b"\x01\x02\x03\x04", 80)
ANSWERS = ((b"\x01\x02\x03\x04", 60), (bytes(15) + b"\x01", 5))
PATTERN = bytes(range(256)) * 16 + bytes(reversed(range(251)))


def text(stream: int, side: int, start: int, size: int) -> bytes:
    """Bytes *start* to *start + size* of what *side* says on *stream*: a pattern that no shift maps to itself."""
    shift = (start + 1009 * stream + 503 * side) % len(PATTERN)
    return (PATTERN * (size // len(PATTERN) + 2))[shift : shift + size]


@attrs.define
class Side:
    """One end of one stream in the model."""

    sent: int = 0
    """Bytes given to send_data."""
    got: int = 0
    """Bytes of the peer that were delivered here."""
    consumed: int = 0
    closed: bool = False
    finished: EndReason | None = None
    eof: bool = False
    ended: EndReason | None = None


@attrs.define
class Pipe:
    """A stream in the model; sides 0 = origin, 1 = exit."""

    host: str
    resolve: bool
    requested: bool = False
    """The exit was asked."""
    answered: bool = False
    """The exit has answered."""
    told: bool = False
    """The origin has heard the answer."""
    sides: tuple[Side, Side] = attrs.field(factory=lambda: (Side(), Side()))

    def may_send(self, side: int) -> bool:
        """Whether the model lets *side* send."""
        me = self.sides[side]
        ready = not self.resolve and (side == 0 or self.answered)
        return ready and not me.closed and me.finished is None and me.ended is None


class CircuitMachine(RuleBasedStateMachine):
    """Moves of both ends and of the wires between."""

    pipes: dict[int, Pipe]
    sound = False
    """Whether there is a circuit and no check has failed."""

    @initialize(hops=st.integers(1, 8), seed=st.integers(0, 2**32))
    def build(self, hops: int, seed: int) -> None:
        """A circuit of any length."""
        self.chain = Chain(hops, seed=seed)
        self.pipes = {}
        self.pings = 0
        self.pongs = 0
        self.written: set[tuple[int, int]] = set()
        assert self.chain.origin.hops == hops
        self.sound = True

    def end(self, side: int) -> CircuitEnd:
        """The end of a side."""
        return self.chain.exit.end if side else self.chain.origin.end

    def pick(self, data: Any, side: int, sending: bool) -> int | None:
        """A stream on which *side* may do something."""
        names = [name for name, pipe in self.pipes.items() if pipe.may_send(side) or not sending]
        return data.draw(st.sampled_from(names)) if names else None

    # -- Verbs

    @rule(resolve=st.booleans(), number=st.integers(1, 65535))
    def open(self, resolve: bool, number: int) -> None:
        """The client asks for a stream or for a name."""
        host = f"h{number}.example"
        end = self.chain.origin.end
        stream = end.resolve(host) if resolve else end.begin(host, 80)
        assert stream not in self.pipes
        self.pipes[stream] = Pipe(host, resolve)

    @precondition(lambda self: any(pipe.requested and not pipe.answered for pipe in self.pipes.values()))
    @rule(data=st.data())
    def answer(self, data: Any) -> None:
        """The exit answers."""
        waiting = [name for name, pipe in self.pipes.items() if pipe.requested and not pipe.answered]
        stream = data.draw(st.sampled_from(waiting))
        pipe = self.pipes[stream]
        pipe.answered = True
        if pipe.resolve:
            self.chain.exit.end.resolved(stream, list(ANSWERS))
            if pipe.sides[1].ended is None and pipe.sides[1].finished is None:
                pipe.sides[1].finished = EndReason.DONE
        else:
            self.chain.exit.end.connected(stream, PEER, 60)

    @rule(data=st.data(), side=st.integers(0, 1), size=st.sampled_from([1, 100, 900, 5000, 40000, 150000]))
    def send(self, data: Any, side: int, size: int) -> None:
        """An application writes."""
        stream = self.pick(data, side, sending=True)
        if stream is not None:
            me = self.pipes[stream].sides[side]
            self.end(side).send_data(stream, text(stream, side, me.sent, size))
            me.sent += size

    @rule(data=st.data(), side=st.integers(0, 1))
    def close_write(self, data: Any, side: int) -> None:
        """An application closes its half."""
        stream = self.pick(data, side, sending=True)
        if stream is not None:
            self.end(side).close_write(stream)
            self.pipes[stream].sides[side].closed = True

    @rule(data=st.data(), side=st.integers(0, 1), reason=st.sampled_from([EndReason.DONE, EndReason.MISC]))
    def finish(self, data: Any, side: int, reason: EndReason) -> None:
        """An application is done with a stream, or tears it."""
        names = [name for name, pipe in self.pipes.items() if pipe.requested or side == 0]
        if names:
            stream = data.draw(st.sampled_from(names))
            me = self.pipes[stream].sides[side]
            # After DONE the END waits for what is queued; until it has gone another reason tears the stream.
            waits = me.finished is None or self.end(side).buffered(stream) > 0
            self.end(side).finish(stream, reason)
            if me.ended is None and waits:
                me.finished = reason

    @rule(data=st.data(), side=st.integers(0, 1), part=st.integers(1, 4))
    def consume(self, data: Any, side: int, part: int) -> None:
        """A consumer takes some of what it was given."""
        stream = self.pick(data, side, sending=False)
        if stream is not None:
            me = self.pipes[stream].sides[side]
            count = (me.got - me.consumed) // part
            me.consumed += count
            self.end(side).consumed(stream, count)

    @rule()
    def ping(self) -> None:
        """The client asks for a sign of life."""
        self.chain.origin.end.ping(self.chain.now)
        self.pings += 1

    @rule(seconds=st.sampled_from([0.01, 0.5, 30.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.chain.now += seconds

    # -- Wires

    @rule(data=st.data(), count=st.integers(1, 5))
    def move(self, data: Any, count: int) -> None:
        """A few cells get over one wire."""
        self.chain.origin_turn()
        place = data.draw(st.integers(0, len(self.chain.transits) - 1))
        if data.draw(st.booleans()):
            self.chain.move_forward(place, count)
        else:
            self.chain.node_turn(place)
            self.chain.move_backward(place, count)
        self.told()

    @rule()
    def pump(self) -> None:
        """Everything gets where it should."""
        self.chain.pump()
        self.told()

    # -- Events

    def told(self) -> None:
        """Compare what the ends were told with the model."""
        self.sound = False
        for side, events in enumerate((self.chain.take_origin(), self.chain.take_exit())):
            for event in events:
                self.check(side, event)
        self.sound = True

    def check(self, side: int, event: EndEvent) -> None:
        """One event."""
        if isinstance(event, PongReceived):
            self.pongs += 1
            assert event.rtt >= 0
            return
        stream: int = event.stream
        pipe = self.pipes[stream]
        me, peer = pipe.sides[side], pipe.sides[1 - side]
        assert me.ended is None, "an event after the last one"
        if isinstance(event, StreamRequested | ResolveRequested):
            assert side == 1 and not pipe.requested and event.host == pipe.host
            assert isinstance(event, ResolveRequested) == pipe.resolve
            pipe.requested = True
            return
        if not isinstance(event, StreamWritable | StreamEnded):
            assert me.finished is None, "an event after finish()"
        if isinstance(event, StreamConnected):
            assert side == 0 and pipe.answered and not pipe.told and (event.address, event.ttl) == (PEER, 60)
            pipe.told = True
        elif isinstance(event, StreamResolved):
            assert side == 0 and pipe.answered and event.answers == ANSWERS
            pipe.told = True
            # "The stream is gone": the core answers the END by itself.
            me.ended = EndReason.DONE
        elif isinstance(event, StreamData):
            assert side == 1 or pipe.told, "data before CONNECTED"
            assert not me.eof, "data after EOF"
            data = b"".join(event.data)
            assert data == text(stream, 1 - side, me.got, len(data))
            me.got += len(data)
            assert me.got <= peer.sent
            assert me.got - me.consumed <= 1024 * 1024 + STREAM_CREDIT
        elif isinstance(event, StreamEOF):
            assert not me.eof and peer.closed and me.got == peer.sent
            me.eof = True
        elif isinstance(event, StreamEnded):
            # The answer to our own END is DONE, unless the peer's END crossed it.
            assert event.reason == peer.finished or (me.finished is not None and event.reason is EndReason.DONE)
            if me.finished is None and event.reason is EndReason.DONE:
                assert me.got == peer.sent, "a clean end that is not the end"
            me.ended = event.reason

    @invariant()
    def windows_are_kept(self) -> None:
        """Never more in flight than the window."""
        for side in (0, 1) if self.sound else ():
            window = self.end(side).window
            assert 0 <= window.in_flight <= window.size

    def teardown(self) -> None:
        """At last everything that may arrive has arrived, and nothing is left over."""
        if not self.sound:
            return
        moved = True
        while moved:
            self.chain.pump()
            self.told()
            moved = False
            for stream, pipe in self.pipes.items():
                for side, me in enumerate(pipe.sides):
                    if me.got > me.consumed:
                        self.end(side).consumed(stream, me.got - me.consumed)
                        me.consumed = me.got
                        moved = True
                if pipe.requested and not pipe.answered and pipe.sides[1].ended is None:
                    moved |= self.answer_now(stream, pipe)
        assert self.pongs == self.pings
        origin, exit_end = self.chain.origin.end, self.chain.exit.end
        assert origin.window.in_flight < ACK_INTERVAL and exit_end.window.in_flight < ACK_INTERVAL
        live = 0
        for stream, pipe in self.pipes.items():
            assert pipe.requested
            if not any(me.finished is not None or me.ended is not None for me in pipe.sides):
                live += 1
                self.check_live(stream, pipe)
            for side, me in enumerate(pipe.sides):
                peer = pipe.sides[1 - side]
                assert self.end(side).buffered(stream) == 0
                if me.finished is None and not pipe.resolve:
                    assert me.ended == peer.finished
        assert origin.streams == exit_end.streams == live

    def answer_now(self, stream: int, pipe: Pipe) -> bool:
        """The exit answers what it has not yet."""
        pipe.answered = True
        if pipe.sides[1].finished is not None:
            return False
        if pipe.resolve:
            self.chain.exit.end.resolved(stream, list(ANSWERS))
            pipe.sides[1].finished = EndReason.DONE
        else:
            self.chain.exit.end.connected(stream, PEER, 60)
        return True

    def check_live(self, stream: int, pipe: Pipe) -> None:
        """A stream that nobody has finished: all bytes are over, both ends agree about credit."""
        ends = [self.end(side)._streams[stream] for side in (0, 1)]
        for side, me in enumerate(pipe.sides):
            peer = pipe.sides[1 - side]
            assert me.got == peer.sent and me.eof == peer.closed, (side, pipe)
            if not peer.closed:
                assert ends[1 - side].credit == ends[side].receive_credit


class CircuitModelTests(SynchronousTestCase):
    """Circuits of 1 to 8 hops."""

    def test_against_the_model(self) -> None:
        """Any moves of streams, closes, credit, pings and wires give what the model gives."""
        # Shrinking such long runs takes minutes: a failure shows the moves as they were drawn.
        chosen = settings(max_examples=100, stateful_step_count=60, phases=[Phase.generate])
        run_state_machine_as_test(CircuitMachine, settings=chosen)

    def transferred(self, hops: int, up: int, down: int) -> tuple[Chain, list[int], list[int]]:
        """Move bytes both ways over one stream; gives the commands of the cells at the first wire, each way."""
        chain = Chain(hops, seed=7)
        stream = chain.open_stream()
        chain.origin.end.send_data(stream, text(stream, 0, 0, up))
        chain.exit.end.send_data(stream, text(stream, 1, 0, down))
        got = [b"", b""]
        commands: list[list[int]] = [[], []]
        moved = True
        while moved:
            moved = chain.origin_turn()
            commands[0] += [command for command, _ in chain.forward[0]]
            for place in range(hops):
                moved |= chain.move_forward(place)
            for place in reversed(range(hops)):
                moved |= chain.node_turn(place)
                if not place:
                    commands[1] += [command for command, _ in chain.backward[0]]
                moved |= chain.move_backward(place)
            for side, events in enumerate((chain.take_origin(), chain.take_exit())):
                for event in events:
                    if isinstance(event, StreamData):
                        got[side] += b"".join(event.data)
                        end = chain.exit.end if side else chain.origin.end
                        end.consumed(stream, sum(map(len, event.data)))
        self.assertEqual(got[1], text(stream, 0, 0, up))
        self.assertEqual(got[0], text(stream, 1, 0, down))
        return chain, commands[0], commands[1]

    def test_bulk_download(self) -> None:
        """After an interval of full CELLs the client asks for BULK, and backward cells become BULK."""
        _, _, back = self.transferred(3, 10, 1_000_000)
        change = back.index(BULK)
        self.assertEqual(set(back[:change]), {CELL})
        self.assertEqual(set(back[change:]), {BULK})
        self.assertGreaterEqual(change, 32)

    def test_bulk_upload(self) -> None:
        """With 4 KiB waiting forward cells are BULK; the rest is a small one."""
        _, ahead, back = self.transferred(2, 500_000, 10)
        data = [command for command in ahead if command == BULK]
        self.assertGreaterEqual(len(data), 500_000 // 16384)
        self.assertEqual(set(back), {CELL})

    def test_back_to_small_cells(self) -> None:
        """After an interval of BULK cells that are nearly empty the client asks for CELL again."""
        chain, _, _ = self.transferred(2, 0, 300_000)
        stream = 1
        commands = []
        for _ in range(8):
            chain.exit.end.send_data(stream, b"x")
            chain.node_turn(1)
            commands += [command for command, _ in chain.backward[1]]
            chain.pump()
        change = commands.index(CELL)
        self.assertEqual(set(commands[:change]), {BULK})
        self.assertEqual(set(commands[change:]), {CELL})

    def test_many_streams_share(self) -> None:
        """A stream with much to send does not keep the others waiting: each is in the first cells."""
        chain = Chain(1)
        streams = [chain.open_stream() for _ in range(5)]
        for stream in streams:
            chain.exit.end.send_data(stream, text(stream, 1, 0, 50000))
        chain.node_turn(0)
        cells = chain.backward[0]
        chain.backward[0] = cells[:6]
        chain.move_backward(0)
        told = {event.stream for event in chain.take_origin() if isinstance(event, StreamData)}
        self.assertEqual(told, set(streams))

    def test_resolve(self) -> None:
        """A name is resolved and its stream is gone at both ends."""
        chain = Chain(3)
        stream = chain.origin.end.resolve("example.org")
        chain.pump()
        self.assertEqual(chain.take_exit(), [ResolveRequested(stream, "example.org")])
        chain.exit.end.resolved(stream, list(ANSWERS))
        chain.pump()
        self.assertEqual(chain.take_origin(), [StreamResolved(stream, ANSWERS)])
        self.assertEqual((chain.origin.end.streams, chain.exit.end.streams), (0, 0))

    def test_ping(self) -> None:
        """The round trip is measured with the clock that is given."""
        chain = Chain(3)
        chain.origin.end.ping(chain.now)
        chain.origin_turn()
        chain.now += 1.5
        chain.pump()
        self.assertEqual(chain.take_origin(), [PongReceived(1.5)])
