"""The two ends of a circuit: nothing that is not expected is ignored, in either direction."""

from __future__ import annotations

import random
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import (
    ACK_INTERVAL,
    BACKWARD_OVERHEAD,
    BUFFER_HIGH,
    BULK,
    CELL,
    EARLY,
    FORWARD_OVERHEAD,
    MAX_STREAMS,
    STREAM_CREDIT,
    WINDOW_START,
    EndReason,
)
from torpydo.tpdp.ends import CircuitEnd
from torpydo.tpdp.events import StreamData, StreamEnded, StreamEOF, StreamRequested, StreamWritable
from torpydo.tpdp.exitend import ExitEnd
from torpydo.tpdp.messages import (
    Type,
    decode_payload,
    encode_ack,
    encode_begin,
    encode_connected,
    encode_credit,
    encode_resolved,
    encode_wanted_size,
)
from torpydo.tpdp.originend import OriginEnd

BEGIN = encode_begin("a.example", 80)
CONNECTED = encode_connected(Address(bytes(4), 80), 1)
RESOLVED = encode_resolved([(bytes(4), 1)])
END = b"\x01"
FULL = b"d" * 1001


def payloads(chain: Chain, side: int) -> list[list[tuple[Type, int, bytes]]]:
    """The messages of the cells that one side makes now; they are not sent."""
    end: CircuitEnd = chain.exit.end if side else chain.origin.end
    seen: list[list[tuple[Type, int, bytes]]] = []
    seal = end._seal
    end._seal = lambda command, payload: (seen.append(decode_payload(payload)), seal(command, payload))[1]
    end.cells_to_send(chain.now)
    end._seal = seal
    return seen


class EndCase(SynchronousTestCase):
    """Base of the tests below."""

    def refused_forward(self, chain: Chain, *messages: bytes, command: int = CELL) -> None:
        """The exit refuses a cell with these messages."""
        chain.say_forward(*messages, command=command)
        with self.assertRaises(RemoteProtocolError):
            chain.pump()

    def refused_backward(self, chain: Chain, *messages: bytes, command: int = CELL) -> None:
        """The origin refuses a cell with these messages."""
        chain.say_backward(*messages, command=command)
        with self.assertRaises(RemoteProtocolError):
            chain.pump()


class ForwardViolationTests(EndCase):
    """What a client may not say."""

    def test_stream_never_opened(self) -> None:
        """Every message of a stream that there is not."""
        for kind, data in (
            (Type.DATA, b"x"),
            (Type.CLOSE_WRITE, b""),
            (Type.END, END),
            (Type.WINDOW, encode_credit(1)),
        ):
            self.refused_forward(Chain(2), message(kind, 9, data))

    def test_stream_gone(self) -> None:
        """Every message of a stream that is over at both ends."""
        for kind, data in (
            (Type.DATA, b"x"),
            (Type.CLOSE_WRITE, b""),
            (Type.END, END),
            (Type.WINDOW, encode_credit(1)),
        ):
            chain = Chain(2)
            stream = chain.open_stream()
            chain.origin.end.finish(stream, EndReason.DONE)
            chain.pump()
            self.assertEqual((chain.origin.end.streams, chain.exit.end.streams), (0, 0))
            self.refused_forward(chain, message(kind, stream, data))

    def test_stream_number_used_twice(self) -> None:
        """For a stream that is there, and for one that is gone, in BEGIN and RESOLVE."""
        for gone in (False, True):
            for kind, data in ((Type.BEGIN, BEGIN), (Type.RESOLVE, b"a.example")):
                chain = Chain(1)
                stream = chain.open_stream()
                if gone:
                    chain.origin.end.finish(stream, EndReason.DONE)
                    chain.pump()
                self.refused_forward(chain, message(kind, stream, data))

    def test_messages_of_an_exit(self) -> None:
        """What only an exit says, and answers to nothing."""
        chain = Chain(1)
        stream = chain.open_stream()
        for kind, number, data in (
            (Type.CONNECTED, stream, CONNECTED),
            (Type.RESOLVED, stream, RESOLVED),
            (Type.PONG, 0, bytes(8)),
            (Type.EXTENDED, 0, b"\x02"),
            (Type.PING, 0, bytes(7)),
        ):
            self.refused_forward(chain, message(kind, number, data))

    def test_credit_of_a_stream_that_is_not_connected(self) -> None:
        """There is nothing that it could pay for."""
        chain = Chain(1)
        stream = chain.origin.end.begin("a", 1)
        chain.pump()
        self.refused_forward(chain, message(Type.WINDOW, stream, encode_credit(5)))

    def test_data_for_a_name(self) -> None:
        """A RESOLVE has no bytes."""
        for kind, data in ((Type.DATA, b"x"), (Type.CLOSE_WRITE, b""), (Type.WINDOW, encode_credit(1))):
            chain = Chain(1)
            stream = chain.origin.end.resolve("a")
            chain.pump()
            self.refused_forward(chain, message(kind, stream, data))

    def test_wanted_size(self) -> None:
        """Only CELL and BULK are sizes."""
        for command in (EARLY, 0, 255):
            self.refused_forward(Chain(1), message(Type.WINDOW, 0, encode_wanted_size(command)))

    def test_too_many_streams(self) -> None:
        """One more than the limit is refused with a reason, the circuit lives."""
        chain = Chain(1)
        for _ in range(MAX_STREAMS + 1):
            chain.origin.end.begin("a", 80)
        chain.origin.end.resolve("a")
        chain.pump()
        self.assertEqual(len([event for event in chain.take_exit() if isinstance(event, StreamRequested)]), MAX_STREAMS)
        last = [StreamEnded(MAX_STREAMS + number, EndReason.RESOURCE_LIMIT) for number in (1, 2)]
        self.assertEqual(chain.take_origin(), last)

    def test_streams_that_are_never_ended(self) -> None:
        """A client that answers no END may have as many again; with one more it loses the circuit."""
        chain = Chain(1)
        for number in range(1, 2 * MAX_STREAMS + 1, 20):
            chain.say_forward(*[message(Type.RESOLVE, number + one, b"a") for one in range(20)])
            chain.move_forward(0)
        self.assertEqual(chain.exit.end.streams, 2 * MAX_STREAMS)
        self.refused_forward(chain, message(Type.RESOLVE, 2 * MAX_STREAMS + 1, b"a"))

    def test_drop_is_free(self) -> None:
        """A forward cell of DROP, or of nothing, is the client's cover."""
        chain = Chain(2)
        chain.say_forward(message(Type.DROP, 0, bytes(50)))
        chain.say_forward()
        chain.pump()
        self.assertEqual((chain.take_exit(), chain.take_origin()), ([], []))


class BackwardViolationTests(EndCase):
    """What an exit may not say."""

    def test_stream_never_opened_or_gone(self) -> None:
        """Every message of such a stream."""
        for kind, data in (
            (Type.DATA, b"x"),
            (Type.CLOSE_WRITE, b""),
            (Type.END, END),
            (Type.WINDOW, encode_credit(1)),
            (Type.CONNECTED, CONNECTED),
            (Type.RESOLVED, RESOLVED),
        ):
            self.refused_backward(Chain(2), message(kind, 9, data))
            chain = Chain(2)
            stream = chain.open_stream()
            chain.exit.end.finish(stream, EndReason.RESET)
            chain.pump()
            self.assertEqual(chain.take_origin(), [StreamEnded(stream, EndReason.RESET)])
            self.refused_backward(chain, message(kind, stream, data))

    def test_messages_of_a_client(self) -> None:
        """What only a client says."""
        for kind, number, data in (
            (Type.BEGIN, 1, BEGIN),
            (Type.RESOLVE, 1, b"a"),
            (Type.PING, 0, bytes(8)),
            (Type.EXTEND, 0, b""),
            (Type.WINDOW, 0, encode_wanted_size(BULK)),
        ):
            self.refused_backward(Chain(2), message(kind, number, data))

    def test_answers_to_nothing(self) -> None:
        """PONG without PING, EXTENDED without EXTEND, CONNECTED twice, RESOLVED for a BEGIN, CONNECTED for a name."""
        chain = Chain(2)
        chain.origin.end.ping(0.0)
        chain.pump()
        self.refused_backward(chain, message(Type.PONG, 0, bytes(8)))
        self.refused_backward(Chain(2), message(Type.EXTENDED, 0, b"\x02"))
        for kind, data in ((Type.CONNECTED, CONNECTED), (Type.RESOLVED, RESOLVED)):
            chain = Chain(2)
            self.refused_backward(chain, message(kind, chain.open_stream(), data))
        chain = Chain(2)
        stream = chain.origin.end.resolve("a")
        self.refused_backward(chain, message(Type.CONNECTED, stream, CONNECTED))

    def test_data_before_connected(self) -> None:
        """A stream that is not connected has no bytes to give, and no end of them."""
        for kind, data in ((Type.DATA, b"x"), (Type.CLOSE_WRITE, b"")):
            chain = Chain(2)
            stream = chain.origin.end.begin("a", 80)
            self.refused_backward(chain, message(kind, stream, data))

    def test_nothing_but_drop(self) -> None:
        """A backward cell of DROP alone, or of nothing, says something to somebody else."""
        self.refused_backward(Chain(3), message(Type.DROP, 0, bytes(16)))
        self.refused_backward(Chain(3), message(Type.DROP), message(Type.DROP))
        self.refused_backward(Chain(3))

    def test_unexpected_size(self) -> None:
        """An exit that turns to BULK by itself marks the circuit."""
        chain = Chain(2)
        stream = chain.open_stream()
        self.refused_backward(chain, message(Type.DATA, stream, b"x"), command=BULK)

    def test_early(self) -> None:
        """No EARLY goes backward; the node before refuses it, and so does the origin."""
        for hops in (1, 3):
            chain = Chain(hops)
            stream = chain.open_stream()
            self.refused_backward(chain, message(Type.DATA, stream, b"x"), command=EARLY)


class BothWaysTests(EndCase):
    """Violations that either end could try."""

    def both(self, *messages: tuple[Type, int, bytes]) -> None:
        """Both ends refuse these on a circuit whose stream 1 is open."""
        raw = [message(*one) for one in messages]
        for refused in (self.refused_forward, self.refused_backward):
            chain = Chain(2)
            self.assertEqual(chain.open_stream(), 1)
            refused(chain, *raw)

    def test_data_beyond_the_credit(self) -> None:
        """The last byte that fits is taken, the next one is not."""
        for forward in (True, False):
            chain = Chain(1)
            stream = chain.open_stream()
            say, move = (
                (chain.say_forward, chain.move_forward) if forward else (chain.say_backward, chain.move_backward)
            )
            for _ in range(STREAM_CREDIT // 512):
                say(message(Type.DATA, stream, b"d" * 512))
            move(0)
            say(message(Type.DATA, stream, b"d"))
            self.assertRaises(RemoteProtocolError, move, 0)

    def test_data_without_a_byte(self) -> None:
        """It would say something without saying it."""
        self.both((Type.DATA, 1, b""))

    def test_after_close_write(self) -> None:
        """No DATA and no second CLOSE_WRITE."""
        self.both((Type.CLOSE_WRITE, 1, b""), (Type.DATA, 1, b"x"))
        self.both((Type.CLOSE_WRITE, 1, b""), (Type.CLOSE_WRITE, 1, b""))

    def test_close_write_with_data(self) -> None:
        """CLOSE_WRITE has none."""
        self.both((Type.CLOSE_WRITE, 1, b"x"))

    def test_after_end(self) -> None:
        """Nothing comes after END."""
        for kind, data in ((Type.DATA, b"x"), (Type.CLOSE_WRITE, b""), (Type.END, END), (Type.WINDOW, b"\0\0\0\1")):
            self.both((Type.END, 1, END), (kind, 1, data))

    def test_junk(self) -> None:
        """A byte other than 0 after the last message, an unknown message, a length over the end."""
        for junk in (b"\0\0\x01", b"\x0e" + bytes(6), b"\x05\0\0\0\x01\xff\xff"):
            for refused in (self.refused_forward, self.refused_backward):
                chain = Chain(2)
                chain.open_stream()
                refused(chain, junk)

    def test_acknowledgement_of_nothing(self) -> None:
        """A surplus one, and words that are none."""
        self.both((Type.WINDOW, 0, encode_ack(bytes(16))))
        for data in (b"", b"\x01" + bytes(15), b"\x03" + bytes(16), b"\x02", b"\x03\x04"):
            self.both((Type.WINDOW, 0, data))

    def test_credit_that_is_none(self) -> None:
        """0 bytes."""
        self.both((Type.WINDOW, 1, bytes(4)))

    def test_wrong_acknowledgement(self) -> None:
        """It names the right cell or the circuit dies: whoever has not seen the cell cannot (row F1)."""
        for way in ("forward", "backward"):
            chain = Chain(2)
            stream = chain.open_stream()
            end: CircuitEnd = chain.exit.end if way == "forward" else chain.origin.end
            end.send_data(stream, bytes(STREAM_CREDIT))
            end.cells_to_send(0.0)
            refused = self.refused_forward if way == "forward" else self.refused_backward
            refused(chain, message(Type.WINDOW, 0, encode_ack(b"\x55" * 16)))

    def test_acknowledgements_in_order(self) -> None:
        """The second before the first is wrong."""
        chain = Chain(1)
        stream = chain.open_stream()
        chain.exit.end.send_data(stream, bytes(STREAM_CREDIT))
        chain.exit.end.cells_to_send(0.0)
        tags = [tag for tag, _, _ in chain.exit.end.window._expected]
        self.assertEqual(len(tags), 2)
        self.refused_forward(chain, message(Type.WINDOW, 0, encode_ack(tags[1])))


class IntervalTests(EndCase):
    """The cell that closes an acknowledgement interval."""

    def test_sixteen_random_bytes(self) -> None:
        """It, and only it, has a DROP with 16 fresh bytes (row F2), both ways, also when data would fill it."""
        for side in (0, 1):
            chain = Chain(1)
            drops = []
            for stream in [chain.open_stream() for _ in range(30)]:
                end = chain.exit.end if side else chain.origin.end
                end.send_data(stream, bytes(STREAM_CREDIT))
                closed = len(end.window._expected)
                cells = payloads(chain, side)
                found = [data for cell in cells for kind, _, data in cell if kind is Type.DROP]
                self.assertEqual(len(found), len(end.window._expected) - closed)
                self.assertTrue(all(cell[-1][0] is not Type.DROP or len(cell) > 1 for cell in cells))
                drops += found
                end.window._expected.clear()
                end.window.in_flight = end.window._since
            self.assertGreater(len(drops), 50)
            self.assertEqual((len(set(drops)), {len(data) for data in drops}), (len(drops), {16}))

    def ready(self, side: int) -> tuple[CircuitEnd, list[tuple[bytes, bytes]]]:
        """An end with a stream that is open and has any credit, and the cells that it makes: MAC and payload."""
        made: list[tuple[bytes, bytes]] = []
        numbers = count()

        def seal(command: int, payload: bytes) -> tuple[bytes, bytes]:
            tag = next(numbers).to_bytes(16, "big")
            made.append((tag, payload))
            return payload, tag

        rng = random.Random(side).randbytes
        end: CircuitEnd
        if side:
            end = ExitEnd(seal, BACKWARD_OVERHEAD, rng)
            asked = message(Type.WINDOW, 0, encode_wanted_size(BULK)) + message(Type.BEGIN, 1, BEGIN)
            end.receive_payload(CELL, asked, b"", 0.0)
            end.connected(1, Address(bytes(4), 80), 1)
        else:
            end = OriginEnd(seal, FORWARD_OVERHEAD, rng, 0)
            end.built = True
            end.begin("a.example", 80)
        end._streams[1].credit = 1 << 40
        return end, made

    def test_ten_thousand_intervals(self) -> None:
        """Each of them, both ways, ends with a cell that has 16 random bytes, and no other cell has any (row F2)."""
        for side in (0, 1):
            end, made = self.ready(side)
            drops: set[bytes] = set()
            intervals = 0
            while intervals < 10_000:
                made.clear()
                end.send_data(1, bytes(130_000))
                end.cells_to_send(0.0)
                closing = [tag for tag, _, _ in end.window._expected]
                for tag, payload in made:
                    found = [data for kind, _, data in decode_payload(payload) if kind is Type.DROP]
                    self.assertEqual([len(data) for data in found], [16] * (tag in closing))
                    drops.update(found)
                for tag in closing:
                    end.window.acknowledged(tag, 0.0)
                intervals += len(closing)
            self.assertEqual(len(drops), intervals)

    def test_acknowledging_what_was_not_seen(self) -> None:
        """A client that acknowledges cells which it has not got gets one window and no byte more (row F1): before the
        cell was sent, by chance, with another cell's MAC, or twice.
        """
        for guess in ("early", "short", "by chance", "of the next", "twice"):
            chain = Chain(1)
            end = chain.exit.end
            assert end is not None
            for stream in [chain.open_stream() for _ in range(8)]:
                end.send_data(stream, bytes(STREAM_CREDIT))
            if guess != "early":
                sent = sum(len(body) for _, body in end.cells_to_send(0.0))
                self.assertTrue(WINDOW_START - 1024 < sent <= WINDOW_START)
            tags = [tag for tag, _, _ in end.window._expected]
            answers = {"short": [tag[:15] for tag in tags[:1]], "of the next": tags[1:2], "twice": tags[:1] * 2}
            for tag in answers.get(guess, [bytes(16)]):
                chain.say_forward(message(Type.WINDOW, 0, encode_ack(tag)))
            with self.assertRaises(RemoteProtocolError):
                chain.move_forward(0)
            self.assertEqual(chain.backward[0], [])

    def test_acknowledged_after_32_kib(self) -> None:
        """Not before."""
        chain = Chain(1)
        stream = chain.open_stream()
        for number in range(ACK_INTERVAL // 1024):
            self.assertEqual(list(chain.origin.end._control), [], number)
            cell = chain.say_backward(message(Type.DATA, stream, b"x"))
            chain.backward[0].clear()
            chain.origin.receive_cells([cell], 0.0)
        messages = [message for cell in payloads(chain, 0) for message in cell]
        acks = [data for kind, number, data in messages if kind is Type.WINDOW and not number]
        self.assertEqual(acks, [encode_ack(cell[1][:16])])

    def test_window_stops_data_only(self) -> None:
        """With a full window nothing but control goes; an acknowledgement opens it again and gives the round trip."""
        chain = Chain(1)
        end = chain.exit.end
        streams = [chain.open_stream() for _ in range(20)]
        for stream in streams:
            end.send_data(stream, bytes(STREAM_CREDIT))
        end.window.controller.size = 100 * 1024
        chain.node_turn(0)
        self.assertEqual(len(chain.backward[0]), 100)
        end.finish(streams[0], EndReason.RESET)
        chain.node_turn(0)
        self.assertEqual(len(chain.backward[0]), 101)
        chain.now = 2.0
        chain.move_backward(0)
        chain.move_forward(0)
        self.assertEqual(end.rtt, 2.0)
        self.assertGreater(len(chain.backward[0]), 0)
        self.assertLessEqual(end.window.in_flight, end.window.size)

    def test_bulk_waits_for_room(self) -> None:
        """A builder with much to send does not go on in small cells when the window is nearly full."""
        chain = Chain(1, early=0)
        stream = chain.open_stream()
        end = chain.origin.end
        end.window.controller.size = 40 * 1024
        end.send_data(stream, bytes(STREAM_CREDIT))
        self.assertEqual([command for command, _ in end.cells_to_send(0.0)], [BULK, BULK])
        self.assertEqual(end.cells_to_send(0.0), [])


class UnansweredTests(EndCase):
    """A stream that only one side has ended (row F8)."""

    def half_closed(self, side: int, *, rtt: float | None = None) -> tuple[Chain, int]:
        """A stream whose END of one side has gone, at second 10, and is never answered."""
        chain = Chain(1)
        stream = chain.open_stream()
        end: CircuitEnd = chain.exit.end if side else chain.origin.end
        chain.now = 10.0
        end.rtt = rtt
        end.finish(stream, EndReason.MISC)
        end.cells_to_send(chain.now)
        chain.forward[0].clear()
        chain.backward[0].clear()
        return chain, stream

    def hear(self, chain: Chain, side: int, *messages: bytes) -> None:
        """The side gets a cell."""
        if side:
            chain.say_forward(*messages)
            chain.move_forward(0)
        else:
            chain.say_backward(*messages)
            chain.move_backward(0)

    def test_what_comes_in_time_is_dropped(self) -> None:
        """For sixty seconds, and as long as a round trip of the circuit if that is more; then the END may come."""
        for side in (0, 1):
            for rtt, seconds in ((None, 60.0), (2.0, 60.0), (75.0, 75.0)):
                chain, stream = self.half_closed(side, rtt=rtt)
                for now in (10.0, 40.0, 10.0 + seconds):
                    chain.now = now
                    self.hear(chain, side, message(Type.DATA, stream, b"x"))
                self.hear(chain, side, message(Type.END, stream, END))
                self.assertEqual(chain.take_origin() + chain.take_exit(), [StreamEnded(stream, EndReason.DONE)])

    def test_what_comes_later_destroys_the_circuit(self) -> None:
        """DATA of that stream, or anything else while the END is missing: whoever is honest has answered it."""
        for side in (0, 1):
            for rtt, seconds in ((None, 60.0), (75.0, 75.0)):
                for kind, data in ((Type.DATA, b"x"), (Type.CLOSE_WRITE, b""), (Type.WINDOW, b"\0\0\0\1")):
                    chain, stream = self.half_closed(side, rtt=rtt)
                    chain.now = 10.1 + seconds
                    with self.assertRaises(RemoteProtocolError) as caught:
                        self.hear(chain, side, message(kind, stream, data))
                    self.assertIn("not answered in time", str(caught.exception))

    def test_late_answer(self) -> None:
        """It is one: nothing is left that would have to be destroyed."""
        for side in (0, 1):
            chain, stream = self.half_closed(side)
            chain.now = 500.0
            self.hear(chain, side, message(Type.END, stream, END))
            end: CircuitEnd = chain.exit.end if side else chain.origin.end
            self.assertEqual((end.streams, end._ended), (0, {}))

    def test_the_oldest_counts(self) -> None:
        """Others that were ended later, or were answered, change nothing."""
        chain = Chain(1)
        streams = [chain.open_stream() for _ in range(4)]
        end = chain.origin.end
        for now, stream in enumerate(streams):
            chain.now = 10.0 * now
            end.finish(stream, EndReason.MISC)
            chain.origin_turn()
        chain.forward[0].clear()
        for stream in (streams[0], streams[2]):
            chain.say_backward(message(Type.END, stream, END))
        chain.move_backward(0)
        for now, refused in ((70.0, False), (70.1, True)):
            chain.now = now
            chain.say_backward(message(Type.DATA, streams[3], b"x"))
            if refused:
                self.assertRaises(RemoteProtocolError, chain.move_backward, 0)
            else:
                chain.move_backward(0)

    def test_time_begins_when_it_is_sent(self) -> None:
        """An END that waits for what is queued before it, or for its turn, is not missing yet."""
        chain = Chain(1)
        stream = chain.open_stream()
        chain.origin.end.send_data(stream, bytes(10))
        chain.origin.end.finish(stream, EndReason.DONE)
        chain.now = 1000.0
        chain.origin_turn()
        self.assertEqual(chain.origin.end._ended, {stream: 1000.0})
        other = chain.open_stream()
        chain.origin.end.finish(other, EndReason.MISC)
        chain.now = 1010.0
        chain.say_backward(message(Type.DATA, other, b"x"))
        chain.move_backward(0)


class StreamVerbTests(EndCase):
    """Verbs of a stream that need more than the model."""

    def test_verbs_on_what_is_over_do_nothing(self) -> None:
        """Its owner hears of the end in the same turn."""
        chain = Chain(1)
        for end in (chain.origin.end, chain.exit.end):
            end.send_data(99, b"x")
            end.close_write(99)
            end.finish(99, EndReason.DONE)
            end.consumed(99, 5)
            self.assertEqual((end.buffered(99), end.buffered_total), (0, 0))
        chain.exit.end.connected(99, Address(bytes(4), 1), 1)
        chain.exit.end.resolved(99, [])
        chain.pump()
        self.assertEqual(chain.take_origin(), [])

    def test_data_after_the_end_is_our_mistake(self) -> None:
        """After close_write, gone or not, and after finish; a second connected, too."""
        chain = Chain(1)
        stream = chain.open_stream()
        self.assertRaises(LocalProtocolError, chain.exit.end.connected, stream, Address(bytes(4), 1), 1)
        end = chain.origin.end
        end.close_write(stream)
        self.assertRaises(LocalProtocolError, end.send_data, stream, b"x")
        chain.pump()
        self.assertEqual(chain.take_exit(), [StreamEOF(stream)])
        self.assertRaises(LocalProtocolError, end.send_data, stream, b"x")
        end.close_write(stream)
        end.finish(stream, EndReason.DONE)
        end.finish(stream, EndReason.DONE)
        end.send_data(stream, b"x")
        chain.pump()
        self.assertEqual(end.streams, 0)

    def test_half_close(self) -> None:
        """A client that sends EOF and then reads gets everything."""
        chain = Chain(3)
        stream = chain.open_stream()
        chain.origin.end.send_data(stream, b"question")
        chain.origin.end.close_write(stream)
        chain.pump()
        self.assertEqual(chain.take_exit(), [StreamData(stream, [b"question"]), StreamEOF(stream)])
        chain.exit.end.consumed(stream, 8)
        chain.exit.end.send_data(stream, b"answer")
        chain.exit.end.finish(stream, EndReason.DONE)
        chain.pump()
        self.assertEqual(chain.take_origin(), [StreamData(stream, [b"answer"]), StreamEnded(stream, EndReason.DONE)])

    def test_writable(self) -> None:
        """Told once, when what waits falls below the low mark after it was above the high one."""
        chain = Chain(1)
        stream = chain.open_stream()
        end = chain.exit.end
        end.send_data(stream, bytes(BUFFER_HIGH + STREAM_CREDIT))
        self.assertEqual((end.buffered(stream), end.buffered_total), (131072, 131072))
        chain.node_turn(0)
        self.assertEqual(chain.take_exit(), [])
        self.assertEqual(end.buffered(stream), BUFFER_HIGH)
        chain.say_forward(message(Type.WINDOW, stream, encode_credit(BUFFER_HIGH)))
        chain.move_forward(0)
        self.assertEqual(chain.take_exit(), [StreamWritable(stream)])

    def test_torn_stream_drops_what_waits(self) -> None:
        """END with another reason than DONE goes at once."""
        chain = Chain(1)
        stream = chain.open_stream()
        chain.exit.end.send_data(stream, bytes(1000))
        chain.exit.end.finish(stream, EndReason.RESET)
        chain.pump()
        self.assertEqual(chain.take_origin(), [StreamEnded(stream, EndReason.RESET)])

    def test_data_after_our_end_is_dropped_within_the_credit(self) -> None:
        """Until the peer's END comes its bytes still count."""
        chain = Chain(1)
        stream = chain.open_stream()
        chain.exit.end.finish(stream, EndReason.MISC)
        for _ in range(STREAM_CREDIT // 512):
            chain.say_forward(message(Type.DATA, stream, b"d" * 512))
        chain.move_forward(0)
        self.assertEqual(chain.take_exit(), [])
        chain.say_forward(message(Type.DATA, stream, b"d"))
        self.assertRaises(RemoteProtocolError, chain.move_forward, 0)

    def test_a_verb_that_only_an_end_of_a_kind_has(self) -> None:
        """An end is the origin's or the exit's."""
        end = CircuitEnd(lambda command, payload: (payload, b""), 16, bytes)
        end._control.append(message(Type.DROP))
        self.assertRaises(LocalProtocolError, end.cells_to_send, 0.0)
        end.receive_payload(CELL, message(Type.DROP), b"", 0.0)
