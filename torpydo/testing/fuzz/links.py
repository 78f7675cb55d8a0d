"""Entry points of an open link: its records and frames (docs/protocol, sections Records and Frames).

The inside is behind keys, so these entry points know them: what an input says is sealed as an evil peer would seal it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from torpydo.crypto import SigningKey, record_nonce, seal
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.fixed import CLIENT_NODE
from torpydo.testing.fuzz.greetings import greetings, initiator, responder
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import CellsReceived, CreatedReceived, CreateReceived, Link, LinkClosed, LinkEvent, LinkState
from torpydo.tpdp.constants import AUTH, BODY_SIZES, BULK, CELL, CREATE, CREATED, DESTROY, EARLY, PADDING
from torpydo.tpdp.greeting import make_auth
from torpydo.tpdp.records import Cipher, RecordSealer

__all__ = ["TARGETS"]

MOST_WIRE: Final = 256 * 1024
"""Bytes on the wire that one input may ask for: a script of a few bytes could ask for megabytes of empty frames."""
MOST_RECORD: Final = 4 * (5 + 16384) + 32
"""Bytes that a record has after its length."""
MOST_OUTPUT: Final = 2 * MOST_WIRE
"""Bytes that a link may answer at the most: a DESTROY for a DESTROY, a CREATED for a CREATE."""

COMMANDS: Final = (
    CREATE, CELL, DESTROY, CREATED, PADDING, EARLY, BULK, AUTH, CELL, CREATE, DESTROY, 7, 8, 10, 200, 255,
)  # fmt: skip
END_RECORD, PLAIN, WIRE, LENGTH, TRUE_AUTH, AGAIN, FLIP = range(0xF0, 0xF7)


def _frame(command: int, circuit: int, body: bytes) -> bytes:
    """*circuit* in one byte: its number, and the top bit for the initiator's."""
    circ_id = (circuit & 0x80) << 24 | circuit & 0x7F
    size = BODY_SIZES.get(command, 1024)
    return circ_id.to_bytes(4, "big") + bytes((command,)) + body[:size].ljust(size, b"\0")


class _Forge:
    """Makes the bytes of one direction of a link, as a script wants them."""

    def __init__(self, key: bytes, cipher: Cipher, auth: bytes) -> None:
        self._key = bytes(key)
        self._sealer = RecordSealer(key, cipher)
        self._auth = auth
        self._wire: list[bytes] = []
        self._frames = bytearray()
        self._size = 0

    def make(self, script: Cursor) -> bytes:
        """Everything that goes over the wire."""
        while not script.ended and self._size < MOST_WIRE:
            op = script.byte()
            if op < END_RECORD:
                self._frames += _frame(COMMANDS[op & 15], script.byte(), script.short())
            elif op == PLAIN:
                self._frames += script.short()
            elif op == TRUE_AUTH:
                self._frames += _frame(AUTH, 0, self._auth)
            elif op == WIRE:
                self._put(script.short())
            elif op == AGAIN and self._wire:
                self._put(self._wire[-1])
            elif op == FLIP and self._wire:
                place = script.number(2) % len(self._wire[-1])
                last = self._wire.pop()
                self._put(last[:place] + bytes((last[place] ^ 1,)) + last[place + 1 :])
            else:
                self._end_record(script.number(3) if op == LENGTH else None)
            if len(self._frames) > MOST_WIRE // 4:
                self._end_record(None)
        self._end_record(None)
        return b"".join(self._wire)

    def _put(self, data: bytes) -> None:
        if data:
            self._wire.append(data)
            self._size += len(data)

    def _end_record(self, length: int | None) -> None:
        if not self._frames:
            return
        counter = self._sealer.counter
        record = self._sealer.seal(bytes(self._frames))
        if length is not None:
            # Another length than that of what follows, rightly sealed.
            head = seal(length.to_bytes(3, "big"), record_nonce(counter), self._key)
            record = head + record[len(head) :]
        self._put(record)
        self._frames.clear()


def _follow(link: Link, pieces: Iterable[bytes]) -> list[LinkEvent]:
    """What a link tells of *pieces*, until it is closed."""
    events: list[LinkEvent] = []
    for piece in pieces:
        events += link.receive_data(piece, 1.0)
        held = 0 if link._opener is None else link._opener.buffered
        require(held <= MOST_RECORD, f"{held} bytes wait for the rest of a record")
        if link.state is LinkState.CLOSED:
            require(isinstance(events[-1], LinkClosed), "a link closes without a word")
            break
    require(not any(isinstance(event, LinkClosed) for event in events[:-1]), "something comes after the end")
    return events


def _own(link: Link, events: Iterable[LinkEvent], script: Cursor) -> None:
    """Do what the owner of a link does: answer, destroy, send."""
    for event in events:
        if isinstance(event, CreateReceived):
            if script.byte() & 1:
                link.send_destroy(event.circ_id)
            else:
                link.send_created(event.circ_id, event.message)
        elif isinstance(event, CreatedReceived):
            link.send_cells(event.circ_id, [(CELL, bytes(1024))])
        elif isinstance(event, CellsReceived):
            require(all(len(body) == BODY_SIZES[command] for command, body in event.cells), "a cell of another size")


def _drain(link: Link) -> None:
    """Take what the link has to say."""
    said = 0
    while data := link.data_to_send():
        said += len(data)
        require(said <= MOST_OUTPUT, "a link says more than it was asked")
        link.written(1.0)


def _wait(link: Link) -> None:
    """Let time pass until the link gives its peer up."""
    deadline = link.next_deadline()
    if deadline is not None:
        link.deadline_passed(deadline)
        _drain(link)
        link.deadline_passed(deadline + 1000.0)
    require(link.state is LinkState.CLOSED, "a silent peer keeps its link")


def _session(data: bytes, make: Callable[[bool], Link], forge: Callable[[bool], _Forge]) -> None:
    script = Cursor(data)
    sizes = script.short()
    mode = script.byte()
    aegis = bool(mode & 1)
    wire = forge(aegis).make(script)
    link = make(aegis)
    if mode & 2:
        # An owner that acts between two reads.
        choices = Cursor(data)
        for piece in cut(wire, sizes):
            events = link.receive_data(piece, 1.0)
            _own(link, events, choices)
            _drain(link)
            if link.state is LinkState.CLOSED:
                return
        return
    other = make(aegis)
    in_pieces = list(map(repr, _follow(link, cut(wire, sizes))))
    at_once = list(map(repr, _follow(other, [wire] if wire else [])))
    require(link.state is other.state, "cut another way, the same bytes end otherwise")
    if link.state is LinkState.CLOSED:
        # Good records that one read brings together with a bad one are not told any more: their link is gone.
        in_pieces, at_once = in_pieces[: len(at_once) - 1], at_once[:-1]
    require(in_pieces == at_once, "cut another way, the same bytes tell something else")
    _drain(link)
    _wait(link)


def _answered(aegis: bool) -> Link:
    """The node's end, after the hello."""
    link = responder(aegis=aegis)
    link.receive_data(greetings(aegis).hello, 0.0)
    link.data_to_send()
    return link


def _opened(identity: SigningKey | None, aegis: bool) -> Link:
    """The end that connected, with two circuits on their way."""
    link = initiator(identity, aegis=aegis)
    link.data_to_send()
    link.receive_data(greetings(aegis).reply, 0.0)
    for _ in range(2):
        link.send_create(link.new_circuit_id(), bytes(512))
    _drain(link)
    return link


def _forge_towards_node(aegis: bool) -> _Forge:
    found = greetings(aegis)
    return _Forge(found.keys.forward, found.cipher, make_auth(CLIENT_NODE, found.keys.bind))


def _forge_from_node(aegis: bool) -> _Forge:
    found = greetings(aegis)
    return _Forge(found.keys.backward, found.cipher, b"")


def _run_node(data: bytes) -> None:
    """The node's end of a link whose other end says what it likes."""
    _session(data, _answered, _forge_towards_node)


def _run_client(data: bytes) -> None:
    """The client's end of a link to an evil guard."""
    _session(data, lambda aegis: _opened(None, aegis), _forge_from_node)


def _run_relay(data: bytes) -> None:
    """The end of the node that opened a link to an evil node: that one may open circuits too."""
    _session(data, lambda aegis: _opened(CLIENT_NODE, aegis), _forge_from_node)


def _script(*ops: bytes, sizes: bytes = b"", mode: int = 0) -> bytes:
    return scripted(sizes) + bytes((mode,)) + b"".join(ops)


def _op(command: int, circuit: int, body: bytes = b"") -> bytes:
    return bytes((COMMANDS.index(command), circuit)) + scripted(body)


_END: Final = bytes((END_RECORD,))


def _node_seeds() -> Iterable[bytes]:
    ours, theirs = 0x81, 0x01
    yield _script(_op(PADDING, 0), _END, _op(CREATE, ours, b"hello"), _op(EARLY, ours, b"cell"), _op(DESTROY, ours))
    yield _script(bytes((TRUE_AUTH,)), _op(CREATE, ours), _END, _op(CELL, ours), _op(BULK, ours), mode=1)
    yield _script(_op(CREATE, ours), _op(CREATE, 0x82), _END, _op(CELL, ours), _op(DESTROY, ours), mode=3, sizes=b"c")
    yield _script(_op(CREATED, theirs), _op(CELL, 7), _op(DESTROY, 7), _END, bytes((AGAIN,)), sizes=b"\0\x10")
    yield _script(_op(PADDING, 0), _END, bytes((FLIP, 0, 9)), _op(AUTH, 0, b"forged"), bytes((LENGTH, 0, 4, 0x15)))
    yield _script(bytes((PLAIN, 3)), b"abc", _END, bytes((WIRE, 2)), b"xy")
    for length in (1028 + 16, 65556 + 16, 65557 + 16, 0xFFFFFF):
        # Another length than that of the record, and more than enough bytes after it.
        bulk = _op(BULK, ours) * 3 + _END
        yield _script(_op(PADDING, 0), bytes((LENGTH,)), length.to_bytes(3, "big"), bulk * 3)


def _client_seeds() -> Iterable[bytes]:
    for circuit in (0x81, 0x01):
        yield _script(_op(CREATED, circuit, b"reply"), _op(CELL, circuit, b"cell"), _END, _op(BULK, circuit), mode=1)
        yield _script(_op(CREATED, circuit), _op(DESTROY, circuit), _op(CELL, circuit), sizes=b"\x64", mode=2)
    yield _script(_op(CREATE, 0x01), _op(CELL, 0x01), _op(PADDING, 0), _op(EARLY, 0x01), _op(DESTROY, 0x01), mode=2)
    yield _script(_op(AUTH, 0), _END, bytes((FLIP, 1, 1)))


TARGETS: Final = (
    Target("link-node", _run_node, _node_seeds, longest=1024),
    Target("link-client", _run_client, _client_seeds, longest=1024),
    Target("link-relay", _run_relay, _client_seeds, longest=1024),
)
