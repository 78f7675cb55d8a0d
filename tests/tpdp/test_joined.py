"""Joined circuits: two builders are each other's end, and the node between them can neither read nor mark."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from tests.tpdp.meeting import COOKIE, Meeting, handshake
from torpydo.crypto import SigningKey
from torpydo.errors import BadSignature, DecryptionFailed, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import ACK_INTERVAL, BULK, CELL, EARLY, ORIGIN_READ, EndReason
from torpydo.tpdp.controller import ALLOWED_DELAY, JOINED_DELAY
from torpydo.tpdp.conversations import SIZES, Introduce1, Introduce2, Proof
from torpydo.tpdp.events import (
    PongReceived,
    Said,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamRequested,
)
from torpydo.tpdp.messages import Type
from torpydo.wire import Malformed

NOWHERE = Address(bytes(4), 80)


class JoinedTests(SynchronousTestCase):
    """What the two ends tell each other."""

    def opened(self, meeting: Meeting) -> int:
        """A stream that the service has accepted."""
        stream = meeting.client.origin.end.begin("name", 80)
        meeting.pump()
        self.assertEqual(meeting.service.take_origin(), [StreamRequested(stream, "name", 80)])
        meeting.service.origin.end.connected(stream, NOWHERE, 0)
        meeting.pump()
        self.assertEqual(meeting.client.take_origin(), [StreamConnected(stream, NOWHERE, 0)])
        return stream

    @given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 5))
    def test_a_stream_from_end_to_end(self, client: int, service: int, seed: int) -> None:
        """Any number of hops on either side: bytes and ends arrive, both ways, and the nodes hear nothing."""
        meeting = Meeting(client, service, seed=seed)
        stream = self.opened(meeting)
        meeting.client.origin.end.send_data(stream, b"question")
        meeting.client.origin.end.close_write(stream)
        meeting.pump()
        self.assertEqual(
            meeting.service.take_origin(), [StreamData(stream, [b"question"]), StreamEOF(stream)]
        )
        meeting.service.origin.end.send_data(stream, b"answer")
        meeting.service.origin.end.finish(stream, EndReason.DONE)
        meeting.pump()
        self.assertEqual(
            meeting.client.take_origin(), [StreamData(stream, [b"answer"]), StreamEnded(stream, EndReason.DONE)]
        )
        self.assertEqual(meeting.client.take_exit() + meeting.service.take_exit(), [])

    def test_much_data(self) -> None:
        """Megabytes each way in BULK cells, acknowledged by the MACs that the ends themselves check."""
        meeting = Meeting()
        stream = self.opened(meeting)
        sent = bytes(range(256)) * 8192
        got = {"client": b"", "service": b""}
        for chain in (meeting.client, meeting.service):
            chain.origin.end.send_data(stream, sent)
        for _ in range(4000):
            meeting.pump()
            for name, chain in (("client", meeting.client), ("service", meeting.service)):
                for event in chain.take_origin():
                    if isinstance(event, StreamData):
                        got[name] += b"".join(event.data)
                        chain.origin.end.consumed(stream, sum(map(len, event.data)))
            if all(len(found) == len(sent) for found in got.values()):
                break
        self.assertEqual((got["client"], got["service"]), (sent, sent))
        self.assertIsNotNone(meeting.client.origin.end.rtt)
        self.assertIsNotNone(meeting.service.origin.end.rtt)

    @given(st.integers(1, 4))
    def test_what_a_builder_reads_fills_cells(self, reads: int) -> None:
        """Reads of that size become four BULK cells each and nothing else; one byte more begins another cell."""
        for size, small in ((reads * ORIGIN_READ, 0), (reads * ORIGIN_READ + 1, 1)):
            meeting = Meeting()
            stream = self.opened(meeting)
            end = meeting.client.origin.end
            # The first BULK cell begins an interval.
            end.window.sent(ACK_INTERVAL - end.window._since, bytes(16), 0.0)
            end._streams[stream].credit = size
            end.window.controller.size = 2 * size + ACK_INTERVAL
            end.send_data(stream, bytes(size))
            commands = [command for command, _ in meeting.client.origin.cells_to_send(0.0)]
            self.assertEqual(commands, [BULK] * 4 * reads + [CELL] * small)

    def test_the_window(self) -> None:
        """The path is twice as long as others: more may wait on it, both ways."""
        meeting = Meeting()
        for chain in (meeting.client, meeting.service):
            self.assertEqual(chain.origin.end.window.controller.delay, JOINED_DELAY)
        self.assertEqual(Chain(3).origin.end.window.controller.delay, ALLOWED_DELAY)

    def test_ping(self) -> None:
        """The other end answers, not the rendezvous node."""
        meeting = Meeting()
        meeting.client.origin.end.ping(0.0)
        meeting.client.now = 0.0
        meeting.pump()
        self.assertEqual(meeting.client.take_origin(), [PongReceived(0.0)])

    def test_no_early_cell_is_left(self) -> None:
        """All EARLY cells went before the join, for none passes it; afterwards there are CELL and BULK alone."""
        for seed in range(8):
            meeting = Meeting(seed=seed)
            stream = self.opened(meeting)
            meeting.client.origin.end.send_data(stream, bytes(60_000))
            cells = meeting.client.origin.cells_to_send(0.0)
            self.assertEqual({command for command, _ in cells} - {CELL, BULK}, set())

    def test_an_early_cell_does_not_pass(self) -> None:
        """The node that is asked to pass one on destroys both circuits."""
        meeting = Meeting()
        body, _ = meeting.client.origin.end._seal(EARLY, bytes(880))
        meeting.client.forward[0].append((EARLY, body))
        meeting.client.pump()
        self.assertRaises(RemoteProtocolError, meeting.cross)

    def test_an_early_cell_that_came_through(self) -> None:
        """No end takes one, whoever let it pass."""
        meeting = Meeting()
        for chain in (meeting.client, meeting.service):
            self.assertRaises(RemoteProtocolError, chain.origin.receive_cells, [(EARLY, bytes(1024))], 0.0)

    def test_every_changed_byte_is_refused(self) -> None:
        """Whatever the rendezvous node changes in a cell that it passes on, the other end does not open it."""
        for place in range(0, 1024, 7):
            meeting = Meeting()
            meeting.client.origin.end.begin("name", 80)
            meeting.client.pump()
            command, body = meeting.client.forward[-1][0]
            changed = bytearray(body)
            changed[place] ^= 1
            meeting.client.forward[-1][0] = (command, bytes(changed))
            if place < 128:
                # The head belongs to the sender's hops; nothing in it reaches the other end.
                meeting.pump()
                self.assertEqual(len(meeting.service.take_origin()), 1)
            else:
                self.assertRaises(DecryptionFailed, meeting.pump)

    def test_the_rendezvous_node_cannot_speak(self) -> None:
        """What it says by itself, as it did before the join, does not open."""
        meeting = Meeting()
        meeting.client.say_backward(message(Type.PING, 0, bytes(8)))
        self.assertRaises(DecryptionFailed, meeting.client.pump)

    def test_a_builder_cannot_speak_to_it(self) -> None:
        """Nor does it take anything that is for itself."""
        meeting = Meeting(join=False)
        client = meeting.client.origin
        meeting.client.origin.end.say(Type.ESTABLISH_RENDEZVOUS, COOKIE)
        meeting.client.pump()
        meeting.client.exit.join()
        client.end.ping(0.0)
        self.assertRaises(RemoteProtocolError, meeting.client.pump)

    def test_a_service_takes_no_extend_and_no_conversation(self) -> None:
        """There is no hop behind it."""
        for kind, data in ((Type.EXTEND, bytes(9)), (Type.ESTABLISH_RENDEZVOUS, COOKIE)):
            meeting = Meeting()
            meeting.client.say_forward(message(kind, 0, data))
            self.assertRaises(RemoteProtocolError, meeting.pump)

    def test_joined_once(self) -> None:
        """A builder joins a circuit that is built, once; a node one that ends there."""
        meeting = Meeting(join=False)
        keys = handshake()[0]
        origin = meeting.client.origin
        origin.join_as_client(keys)
        self.assertRaises(LocalProtocolError, origin.join_as_client, keys)
        self.assertRaises(LocalProtocolError, Chain(2, build=False).origin.join_as_service, keys)
        self.assertRaises(LocalProtocolError, meeting.service.transits[0].join)


class ConversationTests(SynchronousTestCase):
    """What is said to a last hop, and what it may answer."""

    def test_an_introduction_point(self) -> None:
        """The service proves its key for this circuit; after the answer introductions come, any number."""
        chain = Chain()
        chain.take_origin()
        key = SigningKey(b"i" * 32)
        chain.origin.establish_intro(key)
        chain.pump()
        (said,) = chain.take_exit()
        self.assertEqual(said.kind, Type.ESTABLISH_INTRO)
        self.assertEqual(chain.exit.intro_key(said.data).raw, key.public)
        chain.exit.end.say(Type.INTRO_ESTABLISHED, b"")
        chain.exit.end.say(Type.INTRODUCE2, b"1" * 536)
        chain.pump()
        chain.exit.end.say(Type.INTRODUCE2, b"2" * 536)
        chain.pump()
        wanted = [(Type.INTRO_ESTABLISHED, b""), (Type.INTRODUCE2, b"1" * 536), (Type.INTRODUCE2, b"2" * 536)]
        self.assertEqual([(event.kind, event.data) for event in chain.take_origin()], wanted)

    def test_a_service_goes_on(self) -> None:
        """It may set another puzzle any number of times, before it is answered and later; nothing else, nobody else."""
        chain = Chain()
        chain.take_origin()
        chain.origin.establish_intro(SigningKey(b"i" * 32))
        chain.origin.end.say(Type.INTRO_PUZZLE, b"1" * 32)
        chain.pump()
        chain.exit.end.say(Type.INTRO_ESTABLISHED, b"")
        chain.pump()
        chain.origin.end.say(Type.INTRO_PUZZLE, b"2" * 32)
        chain.pump()
        said = [(event.kind, event.data) for event in chain.take_exit()]
        self.assertEqual(said[1:], [(Type.INTRO_PUZZLE, b"1" * 32), (Type.INTRO_PUZZLE, b"2" * 32)])
        self.assertRaises(Malformed, chain.origin.end.say, Type.INTRO_PUZZLE, b"3" * 31)
        for opening in (None, Type.INTRODUCE1, Type.ESTABLISH_RENDEZVOUS, Type.RENDEZVOUS1):
            chain = Chain(1)
            if opening is not None:
                chain.origin.end.say(opening, bytes(SIZES[opening]))
            self.assertRaises(LocalProtocolError, chain.origin.end.say, Type.INTRO_PUZZLE, bytes(32))

    def test_a_proof_holds_for_its_circuit_only(self) -> None:
        """ESTABLISH_INTRO that was seen on one circuit is refused on another (SECURITY O8)."""
        key = SigningKey(b"i" * 32)
        one, other = Chain(seed=1), Chain(seed=2)
        one.origin.establish_intro(key)
        one.pump()
        data = next(event.data for event in one.take_exit() if isinstance(event, Said))
        one.exit.intro_key(data)
        self.assertRaises(BadSignature, other.exit.intro_key, data)
        self.assertRaises(RemoteProtocolError, other.exit.intro_key, bytes(96))

    def test_answers_that_do_not_fit(self) -> None:
        """An answer to nothing, a second one, one of another conversation or of another size destroys the circuit."""
        openings = {
            Type.ESTABLISH_INTRO: bytes(96),
            Type.INTRODUCE1: bytes(564),
            Type.ESTABLISH_RENDEZVOUS: COOKIE,
            Type.RENDEZVOUS1: COOKIE + bytes(512),
        }
        answers = {
            Type.INTRO_ESTABLISHED: b"",
            Type.INTRODUCE_ACK: b"\0",
            Type.INTRODUCE2: bytes(536),
            Type.RENDEZVOUS_ESTABLISHED: b"",
            Type.RENDEZVOUS2: bytes(512),
        }
        good = {
            Type.ESTABLISH_INTRO: Type.INTRO_ESTABLISHED,
            Type.INTRODUCE1: Type.INTRODUCE_ACK,
            Type.ESTABLISH_RENDEZVOUS: Type.RENDEZVOUS_ESTABLISHED,
        }
        for opening in (None, *openings):
            for answer, data in answers.items():
                if opening is not None and good.get(opening) is answer:
                    continue
                chain = Chain(1)
                if opening is not None:
                    chain.origin.end.say(opening, openings[opening])
                    chain.pump()
                chain.exit.end.say(answer, data)
                self.assertRaises(RemoteProtocolError, chain.pump)
        for opening, answer in good.items():
            chain = Chain(1)
            chain.origin.end.say(opening, openings[opening])
            chain.pump()
            chain.exit.end.say(answer, answers[answer] + b"x")
            self.assertRaises(Malformed, chain.pump)

    @given(st.binary(min_size=564, max_size=564))
    def test_what_a_client_says(self, data: bytes) -> None:
        """INTRODUCE1: any bytes of that size are one, and written as they were read."""
        asked = Introduce1.decode(data)
        self.assertEqual(asked.encode(), data)
        nonce = b"n" * 16
        whole = Introduce1(b"k" * 32, Proof(0x01020304, nonce), b"m" * 512).encode()
        self.assertEqual(whole, b"k" * 32 + bytes.fromhex("01020304") + nonce + b"m" * 512)

    @given(st.binary(min_size=536, max_size=536))
    def test_what_a_service_hears(self, data: bytes) -> None:
        """INTRODUCE2: the same."""
        self.assertEqual(Introduce2.decode(data).encode(), data)
        nonce = b"n" * 16
        whole = Introduce2(Proof(1, nonce), 0x0A0B0C0D, b"m" * 512).encode()
        self.assertEqual(whole, bytes.fromhex("00000001") + nonce + bytes.fromhex("0a0b0c0d") + b"m" * 512)

    def test_openings_that_do_not_fit(self) -> None:
        """A second conversation, one beside streams, streams beside one, and wrong sizes."""
        for first, second in (
            (message(Type.ESTABLISH_RENDEZVOUS, 0, COOKIE), message(Type.INTRODUCE1, 0, bytes(564))),
            (message(Type.BEGIN, 1, b"\0\x50name"), message(Type.INTRODUCE1, 0, bytes(564))),
            (message(Type.INTRODUCE1, 0, bytes(564)), message(Type.BEGIN, 1, b"\0\x50name")),
            (message(Type.PING, 0, bytes(8)), message(Type.INTRODUCE1, 0, bytes(563))),
            (message(Type.PING, 0, bytes(8)), message(Type.INTRO_PUZZLE, 0, bytes(32))),
            (message(Type.INTRODUCE1, 0, bytes(564)), message(Type.INTRO_PUZZLE, 0, bytes(32))),
            (message(Type.ESTABLISH_RENDEZVOUS, 0, COOKIE), message(Type.INTRO_PUZZLE, 0, bytes(32))),
            (message(Type.ESTABLISH_INTRO, 0, bytes(96)), message(Type.INTRO_PUZZLE, 0, bytes(33))),
            (message(Type.ESTABLISH_INTRO, 0, bytes(96)), message(Type.INTRODUCE1, 0, bytes(564))),
            (message(Type.PING, 0, bytes(8)), message(Type.INTRO_ESTABLISHED, 0, b"")),
        ):
            chain = Chain(1, early=0)
            chain.say_forward(first)
            chain.move_forward(0)
            chain.say_forward(second)
            self.assertRaises(RemoteProtocolError, chain.move_forward, 0)

    def test_the_builder_keeps_to_one(self) -> None:
        """A second conversation, one beside streams, and streams beside one are our own mistake."""
        chain = Chain(1)
        chain.origin.end.say(Type.ESTABLISH_RENDEZVOUS, COOKIE)
        self.assertRaises(LocalProtocolError, chain.origin.end.say, Type.ESTABLISH_RENDEZVOUS, COOKIE)
        self.assertRaises(LocalProtocolError, chain.origin.end.begin, "name", 80)
        chain = Chain(1)
        chain.origin.end.begin("name", 80)
        self.assertRaises(LocalProtocolError, chain.origin.end.say, Type.ESTABLISH_RENDEZVOUS, COOKIE)
        self.assertRaises(LocalProtocolError, Chain(2, build=False).origin.establish_intro, SigningKey(bytes(32)))

    def test_nothing_after_the_last_word(self) -> None:
        """RENDEZVOUS2 ends its cell: after it the node originates nothing more."""
        chain = Chain(1)
        chain.origin.end.say(Type.ESTABLISH_RENDEZVOUS, COOKIE)
        chain.pump()
        chain.exit.end.say(Type.RENDEZVOUS_ESTABLISHED, b"")
        chain.pump()
        chain.say_backward(message(Type.RENDEZVOUS2, 0, bytes(512)), message(Type.DROP))
        self.assertRaises(RemoteProtocolError, chain.pump)
