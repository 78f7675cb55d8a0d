"""Pairs of links: what each side is told, and what closes a link."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.pairs import NODE, PEER, SEEN, Pair
from torpydo.crypto import DHSecretKey, Purpose
from torpydo.errors import CryptoError, LinkError, LocalProtocolError
from torpydo.tpdp.constants import (
    AUTH,
    BULK,
    CELL,
    CREATE,
    CREATED,
    DESTROY,
    EARLY,
    HANDSHAKE_SIZE,
    INITIATOR_BIT,
    LINK_TIMEOUT,
    MAX_CLOSING,
    PADDING,
)
from torpydo.tpdp.events import (
    CellsReceived,
    CreatedReceived,
    CreateReceived,
    DestroyReceived,
    LinkClosed,
    LinkEvent,
    LinkReady,
    PeerAuthenticated,
)
from torpydo.tpdp.frames import ZERO_BODY, encode_frame, pad_body, split_frames
from torpydo.tpdp.handshake import OPTION_CIPHERS, OPTION_VERSIONS, ClientHandshake, Proto, encode_options
from torpydo.tpdp.link import Link, LinkState

MESSAGE = b"m" * 512
BODY = b"c" * 1024
ASKED = pad_body(MESSAGE)
"""The body of a CREATE or CREATED."""


def say(pair: Pair, *frames: tuple[int, int, bytes], side: int = 0) -> list[LinkEvent]:
    """Let one side send frames that its Link would not; gives what the other was told."""
    link, other = (pair.initiator, pair.responder) if side == 0 else (pair.responder, pair.initiator)
    assert link._sealer is not None
    record = link._sealer.seal(b"".join(encode_frame(*frame) for frame in frames))
    return other.receive_data(record, pair.now)


class LinkCase(SynchronousTestCase):
    """Base of the tests below."""

    def assert_closed(self, link: Link, events: list[LinkEvent], why: str = "") -> None:
        """The link is closed, said so exactly once and last, and says nothing more to the peer."""
        self.assertEqual([type(event) for event in events].count(LinkClosed), 1)
        closed = events[-1]
        assert isinstance(closed, LinkClosed)
        self.assertIsInstance(closed.error, LinkError)
        self.assertIn(why, str(closed.error))
        self.assertIs(link.state, LinkState.CLOSED)
        self.assertEqual(link.data_to_send(), b"")
        self.assertEqual((link.open_circuits, link.data_to_send(), link.next_deadline()), (0, b"", None))
        self.assertEqual(link.receive_data(b"more", 2.0) + link.receive_eof(2.0) + link.deadline_passed(99.0), [])


class HandshakeTests(LinkCase):
    """From the first byte to a link that is ready."""

    def test_each_side_is_told(self) -> None:
        """The initiator of the node's clock and its own address, the responder that the first record has opened."""
        pair = Pair(ready=False)
        pair.pump()
        self.assertEqual(pair.told, ([LinkReady("aegis256", 1_800_000_000, SEEN)], [LinkReady("aegis256")]))
        self.assertEqual((pair.initiator.peer, pair.responder.peer), (NODE.node_id, None))
        self.assertTrue(pair.initiator.is_initiator)

    def test_cipher(self) -> None:
        """AEGIS only if both want it."""
        for offered in (False, True):
            for wanted in (False, True):
                pair = Pair(aegis=(offered, wanted), ready=False)
                pair.pump()
                ready = pair.told[0][0]
                assert isinstance(ready, LinkReady)
                self.assertEqual(ready.cipher, "aegis256" if offered and wanted else "secretbox")

    @given(st.integers(1, 1100))
    @settings(max_examples=15)
    def test_any_pieces(self, piece: int) -> None:
        """However the bytes come, both sides get ready and a cell gets through."""
        pair = Pair(ready=False, identity=PEER)
        pair.pump(piece)
        circ_id = pair.initiator.new_circuit_id()
        pair.initiator.send_create(circ_id, MESSAGE)
        pair.pump(piece)
        events = pair.told[1]
        self.assertEqual(events[1:], [PeerAuthenticated(PEER.node_id), CreateReceived(circ_id, MESSAGE)])

    def test_pending_until_the_first_record(self) -> None:
        """The responder is pending, and says nothing but its reply, until a record has opened."""
        pair = Pair(ready=False)
        pair.move(0)
        self.assertIs(pair.responder.state, LinkState.PENDING)
        self.assertEqual(len(pair.responder.data_to_send()), HANDSHAKE_SIZE)
        pair.responder.send_padding()
        self.assertEqual(pair.responder.data_to_send(), b"")
        self.assertEqual(pair.responder.next_deadline(), LINK_TIMEOUT)

    def test_wrong_node_id(self) -> None:
        """A node that is not the one expected answers nothing, reads on, and closes when its time is up."""
        pair = Pair(expected=PEER, ready=False)
        pair.pump()
        self.assertEqual((pair.told, len(pair.wire)), (([], []), HANDSHAKE_SIZE))
        self.assertIs(pair.responder.state, LinkState.MUTE)
        self.assertEqual(pair.responder.receive_data(bytes(100_000), 5.0), [])
        self.assertEqual((pair.responder.data_to_send(), len(pair.responder._raw)), (b"", 0))
        self.assertEqual(pair.responder.deadline_passed(LINK_TIMEOUT - 0.01), [])
        self.assert_closed(pair.responder, pair.responder.deadline_passed(LINK_TIMEOUT))

    def test_every_flipped_byte_of_the_hello(self) -> None:
        """The responder is mute."""
        hello = Pair(ready=False).initiator.data_to_send()
        for place in range(len(hello)):
            changed = bytearray(hello)
            changed[place] ^= 1
            responder = Pair(ready=False).responder
            self.assertEqual(responder.receive_data(bytes(changed), 1.0), [])
            self.assertEqual((responder.state, responder.data_to_send()), (LinkState.MUTE, b""))

    def test_every_flipped_byte_of_the_reply(self) -> None:
        """The initiator closes without a word: a downgrade of the cipher is one of these (row L1)."""
        for place in range(HANDSHAKE_SIZE):
            pair = Pair(ready=False)
            pair.move(0)
            changed = bytearray(pair.responder.data_to_send())
            changed[place] ^= 1
            self.assert_closed(pair.initiator, pair.initiator.receive_data(bytes(changed), 1.0))

    def test_stripped_offer(self) -> None:
        """Who takes the newest version, or the better cipher, out of a hello gets no link, although the node answers:
        the whole hello is part of what the keys are made of (row L1).

        The attacker of this test has the initiator's ephemeral key, which no attacker has.
        """
        newer = {OPTION_VERSIONS: b"\x02\x01", OPTION_CIPHERS: b"\x02\x01"}
        for stripped in (
            newer | {OPTION_VERSIONS: b"\x01"},
            newer | {OPTION_CIPHERS: b"\x01"},
            newer | {OPTION_VERSIONS: b"\x01\x02"},
            newer | {99: b""},
        ):
            hello, told = (
                ClientHandshake.start(
                    Proto.LINK, NODE.node_id, NODE.node_id.dh_key(), DHSecretKey(b"\x07" * 32), encode_options(options)
                )
                for options in (newer, stripped)
            )
            for message in (hello, told):
                responder = Pair(ready=False).responder
                responder.receive_data(message.message, 1.0)
                reply = responder.data_to_send()
                self.assertEqual(len(reply), HANDSHAKE_SIZE)
                if message is hello:
                    hello.finish(reply)
                else:
                    self.assertRaises(CryptoError, hello.finish, reply)

    def test_deadline(self) -> None:
        """Neither side waits longer than the time-out."""
        for link in (Pair(ready=False).initiator, Pair(ready=False).responder):
            self.assertEqual(link.next_deadline(), LINK_TIMEOUT)
            self.assertEqual(link.deadline_passed(9.9), [])
            self.assert_closed(link, link.deadline_passed(10.0))

    def test_a_ready_link_shows_that_it_lives(self) -> None:
        """Every thirty seconds there is a PADDING, and a peer that sends nothing for ninety is taken for dead."""
        pair = Pair(identity=PEER)
        link = pair.initiator
        first = link.next_deadline()
        assert first is not None
        self.assertEqual(link.deadline_passed(first - 0.1), [])
        self.assertEqual(link.data_to_send(), b"")
        self.assertEqual(link.deadline_passed(first), [])
        self.assertEqual(pair.responder.receive_data(link.data_to_send(), first), [])
        self.assertEqual(link.next_deadline(), first + 30)
        self.assertEqual(link.deadline_passed(first + 30), [])
        self.assert_closed(link, link.deadline_passed(first + 60))

    def test_junk_behind_the_hello(self) -> None:
        """What cannot be a record closes the link, and the reply is not sent."""
        pair = Pair(ready=False)
        hello = pair.initiator.data_to_send()
        self.assert_closed(pair.responder, pair.responder.receive_data(hello + bytes(100), 1.0))

    def test_end_of_the_connection(self) -> None:
        """For the circuits on it that is a failure, said once."""
        pair = Pair()
        pair.initiator.new_circuit_id()
        self.assert_closed(pair.initiator, pair.initiator.receive_eof(2.0))

    def test_our_own_close(self) -> None:
        """No event follows."""
        pair = Pair()
        pair.initiator.close()
        self.assertEqual((pair.initiator.receive_eof(2.0), pair.initiator.data_to_send()), ([], b""))


class AuthTests(LinkCase):
    """Which peers are nodes."""

    def test_a_node_proves_itself(self) -> None:
        """The responder learns who it is and may open circuits towards it."""
        pair = Pair(identity=PEER, ready=False)
        pair.pump()
        self.assertEqual(pair.told[1], [LinkReady("aegis256"), PeerAuthenticated(PEER.node_id)])
        circ_id = pair.responder.new_circuit_id()
        self.assertEqual((circ_id & INITIATOR_BIT, pair.responder.peer), (0, PEER.node_id))
        pair.responder.send_create(circ_id, MESSAGE)
        pair.pump()
        self.assertEqual(pair.told[0][1:], [CreateReceived(circ_id, MESSAGE)])
        pair.initiator.send_created(circ_id, b"r" * 512)
        pair.pump()
        self.assertEqual(pair.told[1][2:], [CreatedReceived(circ_id, b"r" * 512)])

    def test_no_circuit_towards_a_client(self) -> None:
        """Our own mistake is told as such; a client that gets a CREATE closes."""
        pair = Pair()
        circ_id = pair.responder.new_circuit_id()
        self.assertRaises(LocalProtocolError, pair.responder.send_create, circ_id, MESSAGE)
        self.assert_closed(pair.initiator, say(pair, (1, CREATE, ASKED), side=1), "towards a client")

    def test_another_signature(self) -> None:
        """A signature for another link, another key, or with a fill closes the link."""
        for change in range(4):
            pair = Pair(ready=False)
            pair.move(0)
            pair.move(1)
            pair.initiator._queue.drop(0)
            bind = pair.initiator._bind if change else bytes(32)
            good = PEER.public + PEER.sign(Purpose.AUTH, bind)
            body = [good, NODE.public + good[32:], good + b"\x01", good.ljust(1023, b"\0") + b"\x80"][change]
            events = say(pair, (0, AUTH, pad_body(body)))
            self.assert_closed(pair.responder, events)
            self.assertNotIn(PeerAuthenticated, [type(event) for event in events])

    def test_auth_in_another_place(self) -> None:
        """Not as the second frame, not in the second record, not from the responder."""
        first = Pair(ready=False)
        first.move(0)
        first.move(1)
        body = pad_body(PEER.public + PEER.sign(Purpose.AUTH, first.initiator._bind))
        self.assert_closed(first.responder, say(first, (0, PADDING, bytes(1024)), (0, AUTH, body)))
        second = Pair()
        body = pad_body(PEER.public + PEER.sign(Purpose.AUTH, second.initiator._bind))
        self.assert_closed(second.responder, say(second, (0, AUTH, body)))
        third = Pair()
        body = pad_body(NODE.public + NODE.sign(Purpose.AUTH, third.initiator._bind))
        self.assert_closed(third.initiator, say(third, (0, AUTH, body), side=1))


class CircuitTests(LinkCase):
    """Circuits on a link."""

    def opened(self, identity: bool = False) -> tuple[Pair, int]:
        """A pair with a circuit that the initiator opened."""
        pair = Pair(identity=PEER if identity else None)
        circ_id = pair.initiator.new_circuit_id()
        pair.initiator.send_create(circ_id, MESSAGE)
        pair.pump()
        pair.responder.send_created(circ_id, b"r" * 512)
        pair.pump()
        self.assertEqual(pair.told, ([CreatedReceived(circ_id, b"r" * 512)], [CreateReceived(circ_id, MESSAGE)]))
        pair.told[0].clear()
        pair.told[1].clear()
        return pair, circ_id

    def test_ids(self) -> None:
        """The initiator's have the top bit; none is given twice, and they end."""
        pair = Pair()
        ids = [pair.initiator.new_circuit_id() for _ in range(5)]
        self.assertEqual(len({circ_id for circ_id in ids if circ_id & INITIATOR_BIT}), 5)
        self.assertTrue(pair.initiator.is_open(ids[0]))
        pair.initiator.send_destroy(ids[0])
        self.assertNotIn(pair.initiator.new_circuit_id(), ids)
        pair.initiator._ids._next = INITIATOR_BIT - 1
        pair.initiator.new_circuit_id()
        self.assertRaises(LinkError, pair.initiator.new_circuit_id)

    def test_cells_in_batches(self) -> None:
        """All cells of a circuit that one record brought are one event, in order; circuits do not mix."""
        pair, circ_id = self.opened()
        other = pair.initiator.new_circuit_id()
        pair.initiator.send_create(other, MESSAGE)
        pair.pump()
        pair.told[1].clear()
        cells = [(CELL, bytes([number]) * 1024) for number in range(3)]
        pair.initiator.send_cells(circ_id, cells)
        pair.initiator.send_cells(other, [(BULK, b"b" * 16384), (EARLY, BODY)])
        self.assertEqual(pair.initiator.queued(circ_id), 3072)
        pair.pump()
        expected = [CellsReceived(circ_id, cells), CellsReceived(other, [(BULK, b"b" * 16384), (EARLY, BODY)])]
        self.assertEqual(pair.told[1], expected)

    def test_cells_before_a_destroy_come_before_it(self) -> None:
        """The order within a circuit is kept."""
        pair, circ_id = self.opened()
        events = say(pair, (circ_id, CELL, BODY), (circ_id, DESTROY, bytes(1024)))
        self.assertEqual(events, [CellsReceived(circ_id, [(CELL, BODY)]), DestroyReceived(circ_id)])

    def test_destroy_is_answered(self) -> None:
        """Both sides forget the circuit; the one that destroyed it is told nothing; cells that cross are ignored."""
        pair, circ_id = self.opened()
        pair.initiator.send_cells(circ_id, [(CELL, BODY)] * 3)
        pair.initiator.send_destroy(circ_id)
        pair.initiator.send_destroy(circ_id)
        self.assertEqual(pair.initiator.queued(circ_id), 1024)
        pair.responder.send_cells(circ_id, [(CELL, BODY)])
        pair.move(1)
        self.assertEqual(say(pair, (circ_id, CREATED, ASKED), side=1), [])
        pair.pump()
        self.assertEqual(pair.told, ([], [DestroyReceived(circ_id)]))
        for link in (pair.initiator, pair.responder):
            self.assertEqual((link.open_circuits, link._ids._closing, link._ids._unknown), (0, set(), 0))
            link.send_cells(circ_id, [(CELL, BODY)])
            link.send_created(circ_id, MESSAGE)
            self.assertEqual(link.data_to_send(), b"")

    def test_destroyed_before_the_peer_heard_of_it(self) -> None:
        """A CREATE that still waits does not go, nor a DESTROY; the id is not used again."""
        pair = Pair()
        circ_id = pair.initiator.new_circuit_id()
        pair.initiator.send_create(circ_id, MESSAGE)
        pair.initiator.send_destroy(circ_id)
        self.assertEqual((pair.initiator.data_to_send(), pair.initiator.open_circuits), (b"", 0))
        self.assertEqual(pair.initiator._ids._closing, set())
        other = pair.initiator.new_circuit_id()
        self.assertNotEqual(other, circ_id)
        pair.initiator.send_create(other, MESSAGE)
        pair.pump()
        self.assertEqual(pair.told, ([], [CreateReceived(other, MESSAGE)]))

    def test_duplicate_create(self) -> None:
        """It is counted, and the circuit that has the id is not touched (row L8); neither is it once destroyed."""
        pair, circ_id = self.opened()
        self.assertEqual(say(pair, (circ_id, CREATE, ASKED)), [])
        self.assertEqual(pair.responder.open_circuits, 1)
        pair.initiator.send_destroy(circ_id)
        pair.pump()
        self.assertEqual(say(pair, (circ_id, CREATE, ASKED)), [])
        self.assertEqual((pair.responder.open_circuits, pair.responder._ids._unknown), (0, 2))

    def test_duplicate_create_does_not_touch_the_circuit(self) -> None:
        """In either direction: the circuit goes on, the second CREATE is answered with nothing (row L8)."""
        pair = Pair(identity=PEER)
        links = (pair.initiator, pair.responder)
        for side, opener in enumerate(links):
            other = links[1 - side]
            circ_id = opener.new_circuit_id()
            opener.send_create(circ_id, MESSAGE)
            pair.pump()
            other.send_created(circ_id, MESSAGE)
            pair.pump()
            for body in (ASKED, pad_body(b"x" * 512)):
                self.assertEqual(say(pair, (circ_id, CREATE, body), side=side), [])
            self.assertEqual(other.data_to_send(), b"")
            for told in pair.told:
                told.clear()
            for link in links:
                link.send_cells(circ_id, [(CELL, BODY)])
            pair.pump()
            self.assertEqual(pair.told, ([CellsReceived(circ_id, [(CELL, BODY)])],) * 2)

    def test_too_many_duplicates(self) -> None:
        """A hundred a minute are dropped; one more closes the link."""
        pair, circ_id = self.opened()
        for _ in range(100):
            self.assertEqual(say(pair, (circ_id, CREATE, ASKED)), [])
        self.assertTrue(pair.responder.is_open(circ_id))
        self.assert_closed(pair.responder, say(pair, (circ_id, CREATE, ASKED)), "too many")

    def test_fill(self) -> None:
        """A byte other than 0 where the protocol has zeros closes the link, with all that is on it: it can only be the
        neighbour's, and says something that nobody may say (a covert channel).
        """
        for command, good, side in (
            (PADDING, b"", 0),
            (PADDING, b"", 1),
            (CREATE, MESSAGE, 0),
            (CREATED, MESSAGE, 1),
            (DESTROY, b"", 0),
            (DESTROY, b"", 1),
        ):
            for place in (len(good), len(good) + 1, 700, 1022, 1023):
                body = bytearray(pad_body(good))
                body[place] ^= 1 << place % 8
                pair, circ_id = self.opened()
                circ_id = {PADDING: 0, CREATE: circ_id + 1}.get(command, circ_id)
                link = pair.initiator if side else pair.responder
                events = say(pair, (circ_id, command, bytes(body)), side=side)
                self.assert_closed(link, events, "fill")
                self.assertEqual(len(events), 1)

    def test_fill_of_an_unknown_circuit(self) -> None:
        """It is looked at before the circuit is."""
        for command in (CREATED, DESTROY):
            pair, circ_id = self.opened()
            events = say(pair, (circ_id + 9, command, BODY), side=1)
            self.assert_closed(pair.initiator, events, "fill")

    def test_ids_of_the_wrong_side(self) -> None:
        """A CREATE with an id of the receiver's side, or a CREATED for one of the sender's, closes the link."""
        pair = Pair()
        self.assert_closed(pair.responder, say(pair, (5, CREATE, ASKED)), "wrong side")
        pair = Pair(identity=PEER)
        self.assert_closed(pair.initiator, say(pair, (INITIATOR_BIT | 5, CREATE, ASKED), side=1), "wrong side")
        pair, circ_id = self.opened()
        self.assert_closed(pair.responder, say(pair, (circ_id, CREATED, ASKED)), "the other side")

    def test_circuit_zero(self) -> None:
        """It is the link itself: nothing but PADDING and AUTH is on it, and those are on no other."""
        for command in (CREATE, CREATED, DESTROY):
            pair = Pair()
            self.assert_closed(pair.responder, say(pair, (0, command, bytes(1024))), "on circuit 0")
        for command in (PADDING, AUTH):
            pair = Pair()
            events = say(pair, (INITIATOR_BIT | 1, command, bytes(1024)))
            self.assert_closed(pair.responder, events, "on circuit 2147483649")

    def test_unknown_command(self) -> None:
        """It closes the link."""
        pair = Pair()
        self.assert_closed(pair.responder, say(pair, (1, 7, BODY)), "command")

    def test_unknown_circuits(self) -> None:
        """A hundred frames a minute are ignored, one more closes the link; the minute is counted anew."""
        for command in (CELL, BULK, EARLY, CREATED):
            side = 1 if command == CREATED else 0
            frame = (INITIATOR_BIT | 77, command, bytes(16384 if command == BULK else 1024))
            pair = Pair()
            for _ in range(100):
                self.assertEqual(say(pair, frame, side=side), [])
            pair.now += 60.0
            for _ in range(100):
                self.assertEqual(say(pair, frame, side=side), [])
            pair.now += 59.0
            self.assert_closed(pair.initiator if side else pair.responder, say(pair, frame, side=side), "too many")

    def test_destroy_of_an_unknown_circuit(self) -> None:
        """It is ignored, however often."""
        pair = Pair()
        for _ in range(200):
            self.assertEqual(say(pair, (INITIATOR_BIT | 9, DESTROY, bytes(1024))), [])

    def test_answers_that_the_peer_does_not_take(self) -> None:
        """Who asks for circuits, destroys them and takes none of the answers gets no circuit more, and no link."""
        pair = Pair()
        for first in range(1, MAX_CLOSING + 1, 5):
            ids = [INITIATOR_BIT | number for number in range(first, first + 5)]
            say(pair, *((one, *frame) for one in ids for frame in ((CREATE, ASKED), (DESTROY, ZERO_BODY))))
        link = pair.responder
        self.assertEqual((link.open_circuits, link.destroys), (0, (MAX_CLOSING, 0)))
        # He may still take them.
        self.assertEqual(say(pair, (0, PADDING, ZERO_BODY)), [])
        pair.move(1)
        self.assertEqual(len(say(pair, (INITIATOR_BIT | first + 5, CREATE, ASKED))), 1)
        left = MAX_CLOSING - link.destroys[0]
        for number in range(first + 6, first + 6 + left):
            say(pair, (INITIATOR_BIT | number, CREATE, ASKED), (INITIATOR_BIT | number, DESTROY, ZERO_BODY))
        self.assertEqual((link.open_circuits, link.destroys[0]), (1, MAX_CLOSING))
        events = say(pair, (INITIATOR_BIT | number + 1, CREATE, ASKED))
        self.assert_closed(link, events, "does not take")

    def test_altered_record(self) -> None:
        """A link with a record that was changed, replayed or left out is closed (row L3)."""
        for wrong in ("altered", "replayed", "missing"):
            pair, circ_id = self.opened()
            records = []
            for _ in range(2):
                pair.initiator.send_cells(circ_id, [(CELL, BODY)])
                records.append(pair.initiator.data_to_send())
            if wrong == "altered":
                data = records[0][:500] + bytes([records[0][500] ^ 1]) + records[0][501:]
            else:
                data = records[0] * 2 if wrong == "replayed" else records[1]
            events = pair.responder.receive_data(data, 2.0)
            self.assert_closed(pair.responder, events)

    def test_limit_of_a_write(self) -> None:
        """What waits beyond the limit stays in the queue."""
        pair, circ_id = self.opened()
        pair.initiator.send_cells(circ_id, [(CELL, BODY)] * 100)
        pair.initiator.data_to_send(limit=2058)
        self.assertEqual(len(pair.initiator._queue), 98 * 1024)

    def test_two_lengths_only(self) -> None:
        """Whatever the frame, its length is one of two (row C1)."""
        pair, circ_id = self.opened(identity=True)
        lengths: set[int] = set()
        for link in (pair.initiator, pair.responder):
            link.send_padding()
            link.send_cells(circ_id, [(CELL, BODY), (BULK, bytes(16384)), (EARLY, BODY)])
            link._put(circ_id, CREATED, ASKED)
            lengths |= {len(body) + 5 for _, _, body in split_frames(link._queue.take(10**6))}
            link.send_destroy(circ_id)
            lengths |= {len(body) + 5 for _, _, body in split_frames(link._queue.take(10**6))}
        self.assertEqual(lengths, {1029, 16389})

    def test_wire_looks_random(self) -> None:
        """Nothing of a link's zeros shows in its bytes (row L2)."""
        pair = Pair(ready=False)
        for _ in range(60):
            pair.initiator.send_padding()
            pair.pump()
        counts = [pair.wire.count(value) for value in range(256)]
        expected = len(pair.wire) / 256
        self.assertTrue(150 < sum((count - expected) ** 2 / expected for count in counts) < 370)
