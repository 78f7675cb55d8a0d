"""Cases 9 and 10: changed bytes, and what ends in the middle.

That no single byte of a CELL body or of a record may change, at any hop and in either direction, is shown in
tests/tpdp (test_layers, test_records, test_handshake); here are the sizes and places that are missing there, and links
of a whole network.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.faults.base import DATA, FaultTestCase, stream
from tests.net.test_links import Owner, Rig
from tests.tpdp.pairs import Pair
from tests.tpdp.test_layers import KEYS, Layer, fill, origin, payload
from torpydo.errors import CryptoError, LinkError
from torpydo.testing import (
    BlackHole,
    Conditions,
    Drop,
    DropRecord,
    Duplicate,
    FaultProxy,
    Flip,
    FlipInRecord,
    Insert,
    RepeatRecord,
    Split,
    SwapRecords,
    Truncate,
)
from torpydo.testing.faults import Fault, RecordFault
from torpydo.tpdp import Address, CellsReceived, Link, LinkClosed, LinkState

MakeFault = Callable[[int], Fault]
"""Given the offset of a byte that is still to come."""

PIECE = DATA[:200_000]
CELL, BULK = 3, 4
HEADER, BODY, HANDSHAKE = 5, 1024, 512
SILENCE = 90.0
HANDSHAKE_TIME = 10.0


class BulkTests(SynchronousTestCase):
    """Case 9, the large cells."""

    def each_byte(self, body: bytes, opens: Callable[[bytes], object]) -> None:
        """Whichever byte is changed, nothing opens."""
        changed = bytearray(body)
        opened = 0
        for place in range(len(body)):
            changed[place] ^= 1 << place % 8
            try:
                opens(bytes(changed))
            except CryptoError:
                changed[place] = body[place]
            else:
                opened += 1
        self.assertEqual((len(body), opened), (16384, 0))
        opens(body)

    def test_forward(self) -> None:
        """Each of 16384 bytes, at the first hop."""
        body, _ = origin(KEYS[:2]).seal_forward(BULK, payload(BULK), fill(2))
        self.each_byte(body, lambda changed: Layer(KEYS[0]).open_forward(BULK, changed))

    def test_backward(self) -> None:
        """Each of 16384 bytes, at the client."""
        body = Layer(KEYS[0]).seal_backward(BULK, bytes(16384 - 16))
        self.each_byte(body, lambda changed: origin(KEYS[:1]).open_backward(BULK, changed))


class HeaderTests(SynchronousTestCase):
    """Case 9, the header of a frame, which only a neighbour with the keys of the link can change."""

    def test_each_bit(self) -> None:
        """A cell never reaches a circuit whose builder did not make it: it is nobody's, another circuit's of the same
        neighbour, where no layer opens, or the link is closed.
        """
        outcomes = set()
        for bit in range(8 * HEADER):
            pair = Pair()
            circuits = [pair.initiator.new_circuit_id() for _ in range(3)]
            for circ_id in circuits:
                pair.initiator.send_create(circ_id, bytes(HANDSHAKE))
            pair.pump()
            pair.told[1].clear()
            frame = bytearray(circuits[0].to_bytes(4, "big") + bytes((CELL,)) + bytes(BODY))
            frame[bit // 8] ^= 1 << bit % 8
            assert pair.initiator._sealer is not None
            events = pair.responder.receive_data(pair.initiator._sealer.seal(bytes(frame)), pair.now)
            for event in events:
                self.assertIsInstance(event, (CellsReceived, LinkClosed))
                if isinstance(event, CellsReceived):
                    self.assertIn(event.circ_id, circuits[1:])
                    outcomes.add("another circuit")
                else:
                    outcomes.add("closed")
            if not events:
                self.assertIs(pair.responder.state, LinkState.OPEN)
                outcomes.add("nobody's")
        self.assertEqual(outcomes, {"another circuit", "closed", "nobody's"})


class TruncatedTests(SynchronousTestCase):
    """Case 10: what has begun does not come to its end, at each length."""

    def endings(self, length: int, seconds: float) -> list[float | None]:
        """Each length is closed; that time does its part does not depend on it, so it is tried for some."""
        return [None] if length % 16 else [None, seconds]

    def after(self, link: Link, data: bytes, length: int, now: float) -> None:
        """So many bytes of *data*, and nothing of it shows; then an end, or silence until the time is up."""
        self.assertEqual(link.receive_data(data[:length], now), [], length)

    def over(self, link: Link, at: float | None, before: float) -> None:
        """The link is closed, by an end or at a time, with an error that says so, and by nothing else."""
        if at is None:
            events = link.receive_eof(before)
        else:
            events = []
            while not events:
                due = link.next_deadline()
                assert due is not None and due <= at
                events = link.deadline_passed(due)
                link.data_to_send()
        self.assertEqual(len(events), 1)
        assert isinstance(events[0], LinkClosed)
        self.assertIsInstance(events[0].error, LinkError)
        self.assertIs(link.state, LinkState.CLOSED)

    def test_handshake(self) -> None:
        """Hello and reply, each length below the whole: nobody is told that the link is ready."""
        for length in range(HANDSHAKE):
            for ending in self.endings(length, HANDSHAKE_TIME):
                pair = Pair(ready=False)
                hello = pair.initiator.data_to_send()
                self.after(pair.responder, hello, length, 1.0)
                self.assertEqual(pair.responder.data_to_send(), b"")
                self.over(pair.responder, ending, 1.0)
        pair = Pair(ready=False)
        pair.move(0)
        reply = pair.responder.data_to_send()
        for length in range(HANDSHAKE):
            for ending in self.endings(length, HANDSHAKE_TIME):
                link = Pair(ready=False).initiator
                link.data_to_send()
                self.after(link, reply, length, 1.0)
                self.over(link, ending, 1.0)

    def test_record(self) -> None:
        """A record with a CELL, each length below the whole: no part of the cell is handed on."""
        lengths = HEADER + BODY
        length = 0
        while length < lengths:
            for ending in self.endings(length, SILENCE):
                pair = Pair()
                circ_id = pair.initiator.new_circuit_id()
                pair.initiator.send_create(circ_id, bytes(HANDSHAKE))
                pair.pump()
                pair.initiator.send_cells(circ_id, [(CELL, bytes(BODY))])
                data = pair.initiator.data_to_send()
                lengths = len(data)
                self.after(pair.responder, data, length, pair.now)
                self.over(pair.responder, None if ending is None else pair.now + ending, pair.now)
            length += 1
        self.assertGreater(lengths, HEADER + BODY + 2 * 16)


class LinkFaultTests(FaultTestCase):
    """Cases 9, 10 and 13 on the links of a network: a proxy before each node."""

    def begin(self) -> None:
        """A network whose links all go through proxies."""
        self.proxies = self.start_behind_proxies(conditions=Conditions(latency=0.005, rate=4_000_000))

    def disturb(self, place: int, forward: bool, make: MakeFault) -> None:
        """While a transfer runs both ways, one link of its circuit has a fault, made from the number of the byte that
        comes next, in one direction: the stream is torn at both ends, and what came is a prefix of the truth.
        """
        client, server = self.pair()
        proxy = self.proxies[self.path()[place].name]
        stream(client).write(PIECE)
        server.tcp.write(PIECE)
        self.network.advance(0.02)
        before = proxy.done.total()
        for one in proxy.connections.values():
            fault = make((one.to_target if forward else one.to_source).received + self.random.randrange(3000))
            one.set(*(([fault], []) if forward else ([], [fault])))
        self.network.advance(SILENCE + 1 if isinstance(fault, BlackHole) else 2)
        self.assertGreater(proxy.done.total(), before)
        for recorder in (client, server):
            self.assertEqual(self.names(recorder), ["ConnectionLost"], (place, fault))
            self.assertTrue(PIECE.startswith(bytes(recorder.data)), (place, fault))
            self.assertLess(len(recorder.data), len(PIECE), (place, fault))
        proxy.heal()

    def test_each_fault_on_each_link(self) -> None:
        """A bit is changed; bytes are left out, invented, sent twice; the rest never comes, with an end and without."""
        self.begin()
        self.random = Random(2)
        faults: list[MakeFault] = [
            lambda offset: Flip(offset, self.random.randrange(8)),
            Drop,
            lambda offset: Insert(offset, self.random.randbytes(19 + 1029 + 16)),
            lambda offset: Duplicate(offset, 1064),
            Truncate,
            BlackHole,
        ]
        for number, make in enumerate(faults):
            for place in (0, 1, 2):
                self.disturb(place, (number + place) % 2 == 0, make)
        self.oracle.check()

    def test_cut_anywhere(self) -> None:
        """Pieces of every size are no fault: everything arrives."""
        self.begin()
        for proxy in self.proxies.values():
            proxy.set([Split(7)], [Split(13, pause=1e-6)])
        client, server = self.pair()
        stream(client).write(PIECE[:50_000])
        server.tcp.write(PIECE[:50_000])
        self.network.advance(10)
        self.assertEqual((bytes(client.data), bytes(server.data)), (PIECE[:50_000], PIECE[:50_000]))
        stream(client).loseConnection()
        for proxy in self.proxies.values():
            proxy.heal()
        self.assertGreater(sum(proxy.done[Split] for proxy in self.proxies.values()), 10_000)
        self.oracle.check()


class RecordFaultTests(SynchronousTestCase):
    """Cases 12 and 13 on a link, where whole records are what is replayed, reordered, left out or invented."""

    def play(self, fault: Callable[[int], RecordFault], forward: bool) -> int:
        """How many cells arrive, of one record each, when the eleventh is not what it was."""
        rig = Rig()
        middle = rig.reactor.host("10.0.0.9")
        proxy = FaultProxy(
            middle,
            TCP4ServerEndpoint(middle, 6000, interface="10.0.0.9"),
            TCP4ClientEndpoint(middle, rig.address.host, rig.address.port),
        )
        rig.reactor.success(proxy.start())
        rig.address = Address.parse("10.0.0.9", 6000)
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, bytes(HANDSHAKE))
        rig.reactor.flush()
        [connection] = proxy.connections.values()
        connection.know(link.core)
        line = connection.to_target if forward else connection.to_source
        assert line.records is not None
        made = [fault(line.records.number + 10)]
        connection.set(*((made, []) if forward else ([], made)))
        sender, owner = (link, rig.owner) if forward else (rig.owner.links[0], rig.client)
        owner.events.clear()
        for number in range(40):
            sender.send_cells(circ_id, [(CELL, number.to_bytes(2, "big") + bytes(BODY - 2))])
            rig.reactor.flush()
        self.assertEqual(proxy.done.total(), 1)
        self.assert_closed(rig.owner, rig.client)
        self.assertEqual(proxy.connections, {})
        cells = [cell for event in owner.events if isinstance(event, CellsReceived) for cell in event.cells]
        numbers = [int.from_bytes(body[:2], "big") for _, body in cells]
        self.assertEqual(numbers, list(range(len(numbers))))
        return len(numbers)

    def assert_closed(self, *owners: Owner) -> None:
        """Both ends have heard of it, once."""
        self.assertEqual([len(owner.closed) for owner in owners], [1, 1])

    def test_each(self) -> None:
        """Nothing of it is handed on, and nothing after it; the link is closed at both ends."""
        for forward in (True, False):
            for fault in (DropRecord, SwapRecords, FlipInRecord, lambda number: FlipInRecord(number, 500, 7)):
                self.assertEqual(self.play(fault, forward), 10)
            # What comes in the same read as the copy may be lost with it.
            self.assertIn(self.play(RepeatRecord, forward), (10, 11))
            self.assertIn(self.play(lambda number: RepeatRecord(number, after=20), forward), (30, 31))
