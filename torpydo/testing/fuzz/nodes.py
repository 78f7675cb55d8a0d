"""Entry points of what a node reads besides its links: the words of its pools, the answers of the system's resolver,
and the channel between its processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from msgspec.structs import replace
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock

from torpydo.directory import HeartbeatAnswer, PoolURL
from torpydo.errors import BadKey, PoolUnreachable, RemoteProtocolError
from torpydo.net import Fetched
from torpydo.node.heartbeat import Heartbeats
from torpydo.node.resolver import Resolver
from torpydo.node.workers.messages import (
    AcceptedKeys,
    Connection,
    Leaving,
    LogLine,
    MessageReader,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Status,
    Stop,
    ToSupervisor,
    ToWorker,
    encode,
)
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.documents import make_document, make_listing
from torpydo.testing.fuzz.fixed import NODE, NOW, POOL
from torpydo.testing.fuzz.target import Target, require, watched_log
from torpydo.tpdp import EndReason

__all__ = ["TARGETS"]

# -- What pools answer to heartbeats

_URL: Final = PoolURL("127.0.0.1", 8080, POOL.pool_id)
_STATUSES: Final = (200, 400, 403, 409, 422, 429, 503, 200, 0, 999, 304, 404, 500, 200, 400, 400)


def _run_heartbeats(data: bytes) -> None:
    """Answers of a pool to a node's heartbeats, one after the other, and what it says the time is."""
    script, clock = Cursor(data), Clock()

    def answer(reactor: Any, host: str, port: int, path: str, **options: Any) -> Deferred[Fetched]:
        if script.ended:
            return fail(PoolUnreachable("nobody answers any more"))
        return succeed(Fetched(_STATUSES[script.byte() & 15], script.take(script.number(2)), None, False))

    heartbeats = Heartbeats(
        clock,
        [_URL],
        NODE,
        document=lambda: b"document",
        pool_id=lambda url: None,
        wall_clock=lambda: NOW + clock.seconds(),
        randbelow=lambda below: 0,
        fetch=answer,
    )
    with watched_log():
        heartbeats.start()
        while not script.ended:
            [call] = clock.getDelayedCalls()
            # To the microsecond: the clock may have gone on for years, and is a float.
            pause = round(call.getTime() - clock.seconds(), 6)
            require(0.5 <= pause <= 300.0, f"a node waits for {pause} s")
            clock.advance(pause)
            for standing in heartbeats.standings():
                for said in (standing.error, standing.says):
                    require((said or "").isprintable() and len(said or "") < 1000, f"{said!r} is told to a terminal")
        heartbeats.stop()
    require(not clock.getDelayedCalls(), "a timer is left behind")


def _heartbeats_seeds() -> Iterable[bytes]:
    def said(*answers: tuple[int, bytes]) -> bytes:
        return b"".join(bytes((status,)) + len(body).to_bytes(2, "big") + body for status, body in answers)

    yield said((0, HeartbeatAnswer(15.0, NOW).encode()), (0, HeartbeatAnswer(999.0, 0.0).encode()))
    yield said((1, b"the clock is off\x1b[1m\n"), (0, b"1800009000\n"), (6, b"busy"))
    yield said((1, b""), (0, b"9" * 400))


# -- Names to addresses


class _Resolves(Clock):
    """A reactor whose resolver answers what a script says.

    :ivar asked: how many questions there were
    """

    def __init__(self, script: Cursor) -> None:
        super().__init__()
        self._script = script
        self.asked = 0

    @property
    def nameResolver(self) -> _Resolves:
        """See ``IReactorPluggableNameResolver``."""
        return self

    def resolveHostName(self, receiver: IResolutionReceiver, name: str) -> IHostResolution:
        """See ``IHostnameResolver``."""
        require(name == "localhost" or name.endswith("."), f"{name!r} is looked for in search domains")
        self.asked += 1
        if not self._script.byte() & 1:
            return cast(IHostResolution, None)
        for _ in range(self._script.byte()):
            if self._script.ended:
                break
            kind = IPv6Address if self._script.byte() & 1 else IPv4Address
            receiver.addressResolved(kind("TCP", self._script.short().decode("ascii", "replace"), 0))
        receiver.resolutionComplete()
        return cast(IHostResolution, None)


def _run_resolver(data: bytes) -> None:
    """A name that a client wants resolved, and what the system's resolver says."""
    script = Cursor(data)
    name = script.short().decode("ascii", "replace")
    reactor = _Resolves(script)
    resolver = Resolver(reactor, randbelow=lambda below: 0)
    outcomes: list[Any] = []
    for _ in range(2):
        resolver.resolve(name).addBoth(outcomes.append)
        reactor.pump([1.0] * 4)
    require(len(outcomes) == 2, "an answer never comes")
    for outcome in outcomes:
        if isinstance(outcome, EndReason):
            continue
        require(1 <= len(outcome) <= 16 and all(len(ip) in (4, 16) for ip in outcome), f"{outcome!r} are no addresses")
    require(reactor.asked <= 6, "a name is asked for again and again")


def _resolver_seeds() -> Iterable[bytes]:
    two = b"\1\2" + b"\0" + scripted(b"1.2.3.4") + b"\1" + scripted(b"fe80::1%eth0")
    yield scripted(b"example.org") + two
    yield scripted(b"example.org") + b"\0\0" + two
    yield scripted(b"[2a00::1]")
    yield scripted(b"0x7f.1") + two


# -- Between processes


def _read(kind: Any, pieces: list[bytes]) -> tuple[list[Any], bool]:
    """The messages in *pieces*, and whether they ended in something that is none."""
    reader: MessageReader[Any] = MessageReader(kind)
    messages: list[Any] = []
    try:
        for piece in pieces:
            messages += reader.receive(piece)
    except RemoteProtocolError:
        return messages, True
    return messages, False


def _run_channel(kind: Any, data: bytes) -> None:
    script = Cursor(data)
    sizes, sent = script.short(), script.rest()
    framed = len(sent).to_bytes(4, "big") + sent
    for read in (sent, framed):
        (in_pieces, torn), (at_once, broken) = _read(kind, cut(read, sizes)), _read(kind, cut(read, b""))
        require(torn == broken, "cut another way, a channel ends otherwise")
        # What comes in one read with something that is no message is not told any more.
        require(in_pieces[: len(at_once)] == at_once and (torn or in_pieces == at_once), "other messages come out")
        for message in in_pieces:
            if isinstance(message, PoolListing):
                try:
                    listing = message.listing
                except BadKey:
                    continue
                again = PoolListing.of(_URL, listing)
                require(replace(message, url=str(_URL)) == again, "a listing is told as another one")
            require(_read(kind, [encode(message)])[0] == [message], "a message is read as another one")


def _run_to_worker(data: bytes) -> None:
    """What a supervisor says to a worker."""
    _run_channel(ToWorker, data)


def _run_to_supervisor(data: bytes) -> None:
    """What a worker says to its supervisor."""
    _run_channel(ToSupervisor, data)


def _channel_seeds(*messages: Any) -> Iterable[bytes]:
    for message in messages:
        yield scripted(b"") + encode(message)[4:]
    yield scripted(b"\5") + b"".join(map(encode, messages[:2]))


def _to_worker_seeds() -> Iterable[bytes]:
    listing = make_listing(POOL, [make_document(0)], {"test-network": True})
    return _channel_seeds(
        Connection(2), Stop(), AcceptedKeys((bytes(32),)), OwnAddresses(((b"\x7f\0\0\1", 80),)), NetworkChanged(1.5),
        Setup(bytes(32), "reject *:*", False, True, (str(_URL),), ("links=3",)), PoolListing.of(_URL, listing),
    )  # fmt: skip


def _to_supervisor_seeds() -> Iterable[bytes]:
    # Counters, and at the end those of the refusals.
    status: Any = Status
    counters = range(len(Status.__struct_fields__) - 1)
    return _channel_seeds(status(*counters, {"links": 1}), LogLine("warn", "torpydo.node", "words"), Leaving())


TARGETS: Final = (
    Target("node-heartbeats", _run_heartbeats, _heartbeats_seeds, 1024),
    Target("node-resolver", _run_resolver, _resolver_seeds, 512),
    Target("node-to-worker", _run_to_worker, _to_worker_seeds, 1024),
    Target("node-to-supervisor", _run_to_supervisor, _to_supervisor_seeds, 1024),
)
