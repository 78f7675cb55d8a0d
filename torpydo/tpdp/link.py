"""A link: the encrypted connection between two neighbours, from the first byte to the last.

Source: docs/protocol, sections Handshake, Records, Frames. It knows which circuit ids are in use and nothing of
what is in a cell. Bytes in, events out; every method leaves what is to be written in :meth:`Link.data_to_send`.
::

    initiator:  HELLO ── reply opens ──────────────────────────> OPEN ──> CLOSED
    responder:  HELLO ── hello opens ──> PENDING ── first record ──> OPEN ──> CLOSED
                  └── hello does not open ──> MUTE (reads, answers nothing, until its time is up) ──> CLOSED
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import attrs

from torpydo.crypto import NodeId, Secret, SigningKey
from torpydo.errors import CryptoError, LinkError, LocalProtocolError, RemoteProtocolError, TorpydoError
from torpydo.tpdp.address import Address
from torpydo.tpdp.circuitids import CircuitIds
from torpydo.tpdp.constants import (
    AUTH,
    BULK,
    CELL,
    CREATE,
    CREATED,
    DESTROY,
    EARLY,
    HANDSHAKE_SIZE,
    LINK_TIMEOUT,
    MAX_CLOSING,
    MAX_RECORD_FRAMES,
    PADDING,
    SILENCE,
)
from torpydo.tpdp.events import (
    Cell,
    CellsReceived,
    CreatedReceived,
    CreateReceived,
    DestroyReceived,
    LinkClosed,
    LinkEvent,
    LinkReady,
    PeerAuthenticated,
)
from torpydo.tpdp.frames import ZERO_BODY, FrameQueue, check_fill, pad_body, split_frames
from torpydo.tpdp.greeting import LinkHello, answer_hello, check_auth, make_auth
from torpydo.tpdp.handshake import HandshakeKeys
from torpydo.tpdp.liveness import Liveness
from torpydo.tpdp.records import Cipher, RecordOpener, RecordSealer
from torpydo.wire import Malformed

Rng = Callable[[int], bytes]


class LinkState(Enum):
    """Where a link is in its life."""

    HELLO = auto()
    PENDING = auto()
    MUTE = auto()
    OPEN = auto()
    CLOSED = auto()


@attrs.define(eq=False)
class Link:
    """One end of a link. Make it with :meth:`initiator` or :meth:`responder`."""

    is_initiator: bool
    opened_at: float
    _rng: Rng
    _aegis: bool
    _identity: SigningKey | None
    _wall_clock: Callable[[], float]
    _seen: Address | None
    _padding: bool
    peer: NodeId | None = None
    """The node at the other end, once it has proven its identity."""
    state: LinkState = LinkState.HELLO
    _hello: LinkHello | None = None
    _bind: Secret = Secret()
    _cipher: Cipher = Cipher.SECRETBOX
    _raw: bytearray = attrs.field(factory=bytearray)
    _greeting: bytes = b""
    _sealer: RecordSealer | None = None
    _opener: RecordOpener | None = None
    _queue: FrameQueue = attrs.field(factory=FrameQueue)
    _liveness: Liveness | None = None
    _ids: CircuitIds = attrs.Factory(lambda link: CircuitIds(link.is_initiator), takes_self=True)

    # -- Making one

    @classmethod
    def initiator(
        cls,
        node_id: NodeId,
        *,
        rng: Rng,
        now: float,
        identity: SigningKey | None = None,
        aegis: bool = True,
        padding: bool = True,
    ) -> Link:
        """The side that connects, and expects to find *node_id*.

        :param identity: a node's own identity: it proves it in an AUTH frame; clients and pools never do
        :param aegis: offer AEGIS-256 for the records
        :param padding: without *identity*: send PADDING while circuits are idle (SECURITY L9)
        """
        link = cls(True, now, rng, aegis, identity, lambda: 0.0, None, padding and identity is None)
        link._hello = LinkHello.start(node_id, rng=rng, aegis=aegis)
        link._greeting = link._hello.message
        return link

    @classmethod
    def responder(
        cls,
        identity: SigningKey,
        *,
        rng: Rng,
        now: float,
        wall_clock: Callable[[], float],
        aegis: bool = True,
        seen: Address | None = None,
        padding: bool = True,
    ) -> Link:
        """The side that was connected to.

        :param wall_clock: seconds since 1970; asked once, for the reply
        :param aegis: choose AEGIS-256 if it is offered
        :param seen: the address that the connection comes from
        :param padding: if no node is at the other end: send PADDING while circuits are idle (SECURITY L9)
        """
        return cls(False, now, rng, aegis, identity, wall_clock, seen, padding)

    # -- Facts

    @property
    def open_circuits(self) -> int:
        """Circuits on this link."""
        return len(self._ids.open)

    def queued(self, circ_id: int) -> int:
        """Bytes of cells that wait to be sent for one circuit."""
        return self._queue.queued(circ_id)

    @property
    def destroys(self) -> tuple[int, int]:
        """DESTROYs that wait to be sent, and those that do not any more."""
        return self._queue.destroys, self._queue.destroys_left

    def is_open(self, circ_id: int) -> bool:
        """Whether a circuit is open on this link."""
        return circ_id in self._ids.open

    # -- The face

    def receive_data(self, data: bytes, now: float) -> list[LinkEvent]:
        """Take what was read.

        A :class:`LinkClosed` at the end means: close the connection, say nothing.
        """
        events: list[LinkEvent] = []
        if self._liveness is not None:
            self._liveness.heard(now)
        try:
            if self.state in (LinkState.HELLO, LinkState.MUTE):
                data = self._receive_hello(data, events)
            if data and self._opener is not None and self.state is not LinkState.CLOSED:
                for frames in self._opener.receive(data):
                    self._receive_frames(frames, events, now)
        except (CryptoError, RemoteProtocolError) as error:
            events.append(self._closed(LinkError(f"the link broke the protocol: {error}")))
        if self._liveness is None and self.state is LinkState.OPEN:
            # Only now it is known whether the initiator is a node.
            padded = self._padding and (self.is_initiator or self.peer is None)
            self._liveness = Liveness(self._rng, now, padded=padded)
        return events

    def receive_eof(self, now: float) -> list[LinkEvent]:
        """The connection ended: for every circuit on it that is a failure."""
        return [] if self.state is LinkState.CLOSED else [self._closed(LinkError("the connection ended"))]

    def data_to_send(self, limit: int = 4 * MAX_RECORD_FRAMES) -> bytes:
        """What is to be written now, about *limit* bytes at the most: what waits longer can still be overtaken."""
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        if self._sealer is None or self.state in (LinkState.PENDING, LinkState.CLOSED):
            return b""
        records: list[bytes] = []
        while len(self._queue) and limit > 0:
            frames = self._queue.take(min(limit, MAX_RECORD_FRAMES))
            records.append(self._sealer.seal(frames))
            limit -= len(frames)
        return b"".join(records)

    def written(self, now: float) -> None:
        """What :meth:`data_to_send` gave has left: the link is not idle."""
        if self._liveness is not None:
            self._liveness.sent(now)

    def next_deadline(self) -> float | None:
        """When :meth:`deadline_passed` wants to be called; once the link is open it never becomes an earlier time."""
        if self.state is LinkState.CLOSED:
            return None
        return self.opened_at + LINK_TIMEOUT if self._liveness is None else self._liveness.deadline

    def deadline_passed(self, now: float) -> list[LinkEvent]:
        """A link that is not ready in time is closed, and one whose peer has gone silent; others may get a PADDING."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if self._liveness is None:
            return [self._closed(LinkError(f"no link handshake within {LINK_TIMEOUT:.0f} s"))]
        if self._liveness.is_dead(now):
            return [self._closed(LinkError(f"the other side has been silent for {SILENCE:.0f} s"))]
        if self._liveness.wants_padding(now, in_use=bool(self._ids.open) and not len(self._queue)):
            self.send_padding()
        return []

    def close(self) -> None:
        """Our side closes the connection; no event follows."""
        self._closed(LinkError("closed"))

    # -- Verbs

    def new_circuit_id(self) -> int:
        """An id for a circuit that this side opens; it counts as open from now on.

        :raises LinkError: when all are used up
        """
        return self._ids.take()

    def send_create(self, circ_id: int, message: bytes) -> None:
        """Ask the peer for a circuit.

        :raises LocalProtocolError: towards a client, which takes no circuits
        """
        if not self.is_initiator and self.peer is None:
            raise LocalProtocolError("a circuit cannot be opened towards a peer that is no node")
        self._put(circ_id, CREATE, pad_body(message))

    def send_created(self, circ_id: int, message: bytes) -> None:
        """Accept the peer's circuit."""
        self._put(circ_id, CREATED, pad_body(message))

    def send_cells(self, circ_id: int, cells: list[Cell]) -> int:
        """Send cells of a circuit, in order; gives the bytes of their bodies, 0 if the circuit is not open."""
        return self._queue.put(circ_id, cells) if circ_id in self._ids.open else 0

    def send_destroy(self, circ_id: int) -> None:
        """Destroy a circuit: what still waits for it is dropped, nothing more is sent or reported."""
        if circ_id in self._ids.open:
            if self._queue.drop(circ_id) == CREATE:
                # The peer never heard of it.
                self._ids.let_go(circ_id)
                return
            self._ids.close(circ_id)
            self._queue.put(circ_id, [(DESTROY, ZERO_BODY)], patient=True)

    def send_padding(self) -> None:
        """Send a frame that says nothing."""
        self._queue.put(0, [(PADDING, ZERO_BODY)])

    def _put(self, circ_id: int, command: int, body: bytes) -> None:
        if circ_id in self._ids.open:
            self._queue.put(circ_id, [(command, body)])

    # -- Handshake

    def _receive_hello(self, data: bytes, events: list[LinkEvent]) -> bytes:
        """Take the handshake message off the front; gives what comes after it."""
        if self.state is LinkState.MUTE:
            return b""
        self._raw += data
        if len(self._raw) < HANDSHAKE_SIZE:
            return b""
        message = bytes(self._raw[:HANDSHAKE_SIZE])
        rest = bytes(self._raw[HANDSHAKE_SIZE:])
        self._raw = bytearray()
        if self.is_initiator:
            events.append(self._finish(message))
            return rest
        try:
            self._answer(message)
        except (CryptoError, RemoteProtocolError):
            # Whoever does not know this node learns nothing here, not even that it speaks TPDP.
            self.state = LinkState.MUTE
            return b""
        return rest

    def _finish(self, reply: bytes) -> LinkEvent:
        assert self._hello is not None
        hello, self._hello = self._hello, None
        keys, self._cipher, ready = hello.finish(reply)
        self._use(keys)
        self.peer = hello.node_id
        self.state = LinkState.OPEN
        if self._identity is not None:
            self._queue.put(0, [(AUTH, pad_body(make_auth(self._identity, keys.bind)))])
        else:
            # Until a record has opened, the other side counts this link as pending.
            self.send_padding()
        return ready

    def _answer(self, message: bytes) -> None:
        assert self._identity is not None
        keys, self._cipher, self._greeting = answer_hello(
            self._identity, message, rng=self._rng, clock=int(self._wall_clock()), aegis=self._aegis, seen=self._seen
        )
        self._use(keys)
        self.state = LinkState.PENDING

    def _use(self, keys: HandshakeKeys) -> None:
        out, back = (keys.forward, keys.backward) if self.is_initiator else (keys.backward, keys.forward)
        self._sealer = RecordSealer(out, self._cipher)
        self._opener = RecordOpener(back, self._cipher)
        self._bind = keys.bind

    # -- Frames

    def _receive_frames(self, frames: bytes, events: list[LinkEvent], now: float) -> None:
        may_authenticate = self.state is LinkState.PENDING
        if may_authenticate:
            self.state = LinkState.OPEN
            events.append(LinkReady(self._cipher.name.lower()))
        ids = self._ids
        batches: dict[int, list[Cell]] = {}
        for circ_id, command, body in split_frames(frames):
            if command == CELL or command == BULK or command == EARLY:
                batch = batches.get(circ_id)
                if batch is not None:
                    batch.append((command, body))
                elif circ_id in ids.open:
                    batches[circ_id] = [(command, body)]
                else:
                    ids.strayed(circ_id, now)
            else:
                if circ_id in batches:
                    events.append(CellsReceived(circ_id, batches.pop(circ_id)))
                self._receive_control(circ_id, command, body, may_authenticate, events, now)
            may_authenticate = False
        for circ_id, cells in batches.items():
            events.append(CellsReceived(circ_id, cells))

    def _receive_control(
        self, circ_id: int, command: int, body: bytes, first: bool, events: list[LinkEvent], now: float
    ) -> None:
        if (circ_id == 0) != (command in (PADDING, AUTH)):
            raise Malformed(f"frame {command} on circuit {circ_id}")
        if command != AUTH:
            check_fill(command, body)
        if command == CREATE:
            self._receive_create(circ_id, body, events, now)
        elif command == CREATED:
            if not self._ids.is_ours(circ_id):
                raise Malformed("CREATED for a circuit of the other side")
            if circ_id in self._ids.open:
                events.append(CreatedReceived(circ_id, body[:HANDSHAKE_SIZE]))
            else:
                self._ids.strayed(circ_id, now)
        elif command == DESTROY:
            if circ_id in self._ids.open:
                # The answer tells the peer that nothing more is on its way, so that it can forget the id.
                self.send_destroy(circ_id)
                events.append(DestroyReceived(circ_id))
            self._ids.let_go(circ_id)
        elif command == AUTH:
            if not first or self.is_initiator:
                raise Malformed("AUTH that is not the initiator's first frame")
            self.peer = check_auth(body, self._bind)
            events.append(PeerAuthenticated(self.peer))

    def _receive_create(self, circ_id: int, body: bytes, events: list[LinkEvent], now: float) -> None:
        if self.is_initiator and self._identity is None:
            raise Malformed("CREATE towards a client")
        if self._queue.destroys >= MAX_CLOSING:
            raise Malformed("a CREATE of a peer that does not take the DESTROYs of earlier ones")
        if self._ids.admit(circ_id, now):
            events.append(CreateReceived(circ_id, body[:HANDSHAKE_SIZE]))

    def _closed(self, error: TorpydoError) -> LinkClosed:
        self.state = LinkState.CLOSED
        self._ids.clear()
        self._queue = FrameQueue()
        self._liveness = None
        self._sealer = self._opener = self._hello = None
        self._bind = Secret()
        self._greeting = b""
        return LinkClosed(error)
