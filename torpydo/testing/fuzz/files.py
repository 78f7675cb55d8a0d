"""Entry points of the files that a process finds again after a restart: torn, foreign, or written by an evil hand.

Most begin with a hash of the rest, so each is also read with the hash that it should have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from torpydo.cli.backupfile import Backup
from torpydo.client.buildtimes import BuildTimes
from torpydo.client.keeping import KeptTimes
from torpydo.crypto import claimed_bits, document_hash, with_hash
from torpydo.directory import GuardSample, Listing, NetDir, PoolURL, VanguardSet, sign_listing
from torpydo.errors import PathError, StateError
from torpydo.net import StateDirectory
from torpydo.net.listingcache import MAGIC as LISTING_MAGIC
from torpydo.net.listingcache import CachedListing, ListingCache
from torpydo.node.onionkeys import OnionKeys
from torpydo.node.stamping import FILE as STAMP_FILE
from torpydo.node.stamping import Stamping
from torpydo.pool.stamps import Asking
from torpydo.testing.fuzz.cursor import Cursor
from torpydo.testing.fuzz.documents import make_document, make_listing, make_view
from torpydo.testing.fuzz.fixed import NODE, NOW, POOL, fixed_rng
from torpydo.testing.fuzz.target import Target, require, watched_log

__all__ = ["TARGETS"]

T = TypeVar("T")


class _Drawer(StateDirectory):
    """A state directory in memory, in which every file is the input.

    :ivar written: what was written, by name
    :ivar aside: names of files that were set aside
    """

    def __init__(self, content: bytes) -> None:
        super().__init__("/state", -1, -1)
        self._content = content
        self.written: dict[str, bytes] = {}
        self.aside: list[str] = []

    def read(self, name: str) -> bytes | None:
        self.path(name)
        return self.written.get(name, self._content)

    def write(self, name: str, data: bytes) -> None:
        self.path(name)
        self.written[name] = data

    def set_aside(self, name: str) -> str:
        self.aside.append(name)
        return self.path(f"{name}.bad")


def _read(content: bytes, use: Callable[[_Drawer], T]) -> T | None:
    drawer = _Drawer(content)
    with watched_log():
        try:
            return use(drawer)
        except StateError:
            require(not drawer.written, "a file that cannot be read was replaced")
            return None


@cache
def _network() -> NetDir:
    return make_view(Cursor(b"\0\1" + bytes((8, *range(8)))))[0]


def _run_guards(data: bytes) -> None:
    """The client's guards, and what it does with them."""
    for content in (data, with_hash(data)):
        sample = _read(content, lambda drawer: GuardSample.decode(drawer.read("guards") or b""))
        if sample is None:
            continue
        require(GuardSample.decode(sample.encode()).node_ids == sample.node_ids, "guards are read as other ones")
        sample.biased()
        try:
            for guard in sample.order(_network(), float(NOW), lambda below: 0):
                sample.failed(guard, float(NOW))
                sample.confirmed(guard, float(NOW))
                sample.circuit(guard, True)
        except PathError:
            pass
        GuardSample.decode(sample.encode())


def _run_vanguards(data: bytes) -> None:
    """The client's vanguards, and what it does with them."""
    for content in (data, with_hash(data)):
        kept = _read(content, lambda drawer: VanguardSet.decode(drawer.read("vanguards") or b""))
        if kept is None:
            continue
        require(VanguardSet.decode(kept.encode()).encode() == kept.encode(), "vanguards are read as other ones")
        used, spares = kept.order(_network(), (NODE.node_id,), float(NOW), lambda below: 0)
        require(len(used) <= 4 and len({*used, *spares}) == len(used) + len(spares) <= 8, "more vanguards than may be")
        VanguardSet.decode(kept.encode())


def _run_times(data: bytes) -> None:
    """The client's build times."""
    for content in (data, with_hash(data)):
        kept = _read(content, lambda drawer: KeptTimes(drawer, Clock()))
        require(kept is not None, "build times that are torn stop a client")
        if kept is None:
            continue
        for hops in range(9):
            require(1.5 <= kept.known.timeout(hops) <= 60.0 or hops == 0, "a time-out that no circuit may have")
            kept.known.built(hops or 1, 2.0, late=False)
            kept.known.failed(hops or 1)
        BuildTimes.decode(kept.known.encode())


_PINNED: Final = PoolURL("pool.example.org", 80, POOL.pool_id)
_UNPINNED: Final = PoolURL("127.0.0.1", 8080, None)


def _run_listing(data: bytes) -> None:
    """The listing of a pool as it was kept."""
    for content in (data, LISTING_MAGIC + document_hash(data) + data):
        for url in (_PINNED, _UNPINNED):
            drawer = _Drawer(content)
            with watched_log():
                cached = ListingCache(drawer).load(url)
            if cached is None:
                continue
            require(cached.encode() == content and not drawer.aside, "a kept listing is read as another one")
            require(url.pool_id in (None, cached.pool_id), "the listing of another pool is used")


def _run_onion_keys(data: bytes) -> None:
    """A node's onion keys."""
    for content in (data, data + document_hash(data)):
        keys = _read(content, lambda drawer: OnionKeys.open(drawer, fixed_rng(), float(NOW)))
        if keys is not None:
            require(1 <= len(keys.accepted(float(NOW))) <= 2, "a node without an onion key")


def _stamping(drawer: _Drawer, found: bytes | None = None) -> Stamping:
    def search(*about: object) -> Deferred[bytes | None]:
        return succeed(found)

    return Stamping.open(Clock(), NODE.node_id, drawer, rng=fixed_rng(), search=search, found=lambda: None)


def _run_stamp(data: bytes) -> None:
    """A node's stamp, as it was kept, or as a pool keeps since when it asks for one."""
    for content in (data, data[:21] + document_hash(data[:21] + NODE.node_id.raw + data[21:]) + data[21:]):
        stamping = _read(content, _stamping)
        require(stamping is not None, "a stamp that is torn stops a node")
        require(stamping is None or len(stamping.stamp) in (0, 24), "a stamp that no descriptor can hold")
    for bits in (0, 5, 24):
        asking = _read(data, partial(Asking.begin, bits, now=float(NOW)))
        require(asking is not None and asking.bits == bits, "a pool asks for something else")
        require(asking is None or asking.since <= NOW, "nodes have time for ever")


def _run_key(data: bytes) -> None:
    """A key of a node or a pool, which is never made anew when its file is torn (SECURITY X3)."""
    for content in (data, data + document_hash(data)):
        key = _read(content, lambda drawer: drawer.signing_key("node.key", fixed_rng()))
        if key is not None:
            require(bytes(key.seed) in content, "a key that is not in its file")


def _run_backup(data: bytes) -> None:
    """The copy of an identity, as a person may have typed it in again."""
    text = data.decode("ascii", "replace")
    body = text.partition("check: ")[0]
    for content in (text, f"{body}check: {document_hash(body.encode()).hex()}\n"):
        try:
            backup = Backup.decode(content, "backup")
            require(Backup.decode(backup.encode(), "backup") == backup, "a copy is read as another one")
            backup.key(None, "backup")
        except StateError as error:
            require(str(error).isprintable(), f"{str(error)!r} is told to a terminal")


# -- Seeds


def _written(use: Callable[[_Empty], Any], name: str) -> bytes:
    drawer = _Empty(b"")
    use(drawer)
    return drawer.written[name]


class _Empty(_Drawer):
    """A new state directory."""

    def read(self, name: str) -> bytes | None:
        return self.written.get(name)


def _guards_seeds() -> Iterable[bytes]:
    sample = GuardSample()
    for guard in sample.order(_network(), float(NOW), lambda below: 0):
        sample.confirmed(guard, float(NOW))
        sample.circuit(guard, True)
    for whole in (sample.encode(), GuardSample().encode()):
        yield whole
        yield whole[32:]


def _vanguards_seeds() -> Iterable[bytes]:
    kept = VanguardSet()
    kept.order(_network(), (), float(NOW), lambda below: 0)
    kept.add(NODE.node_id, float(NOW), lambda below: 0)
    for whole in (kept.encode(), VanguardSet().encode()):
        yield whole
        yield whole[32:]


def _times_seeds() -> Iterable[bytes]:
    times = BuildTimes()
    for number in range(110):
        times.built(1 + number % 3, 0.1 * number, late=number % 7 == 0)
    for whole in (times.encode(), BuildTimes().encode()):
        yield whole
        yield whole[32:]


def _listing_seeds() -> Iterable[bytes]:
    listing: Listing = make_listing(POOL, [make_document(0)])
    whole = CachedListing(POOL.pool_id, NOW, sign_listing(listing, POOL)).encode()
    return whole, whole[len(LISTING_MAGIC) + 32 :], whole[:-1]


def _onion_keys_seeds() -> Iterable[bytes]:
    whole = _written(lambda drawer: OnionKeys.open(drawer, fixed_rng(), float(NOW)), "onion.keys")
    old = _written(lambda drawer: OnionKeys.open(drawer, fixed_rng(), NOW - 10.0**6).rotate(float(NOW)), "onion.keys")
    return whole, whole[:-32], old, old[:-32]


def _stamp_seeds() -> Iterable[bytes]:
    stamp = bytes(range(8)) + b"\0\x1f" + bytes(range(14))

    def work(drawer: _Drawer) -> None:
        _stamping(drawer, stamp).ask(claimed_bits(stamp))

    whole = _written(work, STAMP_FILE)
    asked = _written(lambda drawer: Asking.begin(12, drawer, NOW - 100), "stamp.asked")
    return whole, whole[:-1], whole[:21] + stamp, asked, asked[:-1]


def _key_seeds() -> Iterable[bytes]:
    whole = _written(lambda drawer: drawer.write_key("node.key", NODE.seed), "node.key")
    return whole, whole[:-32], whole[:-1]


def _backup_seeds() -> Iterable[bytes]:
    made = "2030-01-31T12:00:00Z"
    backup = Backup.make("node", NODE, made=made, sequence=0, passphrase=None, rng=fixed_rng())
    text = backup.encode()
    key = text.splitlines()[5]
    yield text.encode()
    yield text.replace("kind: node", "kind: pool").replace("sequence: 0", "sequence: 9").encode()
    # Seals take too long to be made for each input; what is in one is not looked at without its passphrase.
    yield text.replace(key, "sealed: " + "a2" * 60).encode()
    yield text.replace(key, key + "a").encode()


TARGETS: Final = (
    Target("file-guards", _run_guards, _guards_seeds, 2048),
    Target("file-vanguards", _run_vanguards, _vanguards_seeds, 512),
    Target("file-build-times", _run_times, _times_seeds, 2048),
    Target("file-listing", _run_listing, _listing_seeds, 1024),
    Target("file-onion-keys", _run_onion_keys, _onion_keys_seeds, 256),
    Target("file-stamp", _run_stamp, _stamp_seeds, 256),
    Target("file-key", _run_key, _key_seeds, 256),
    Target("file-backup", _run_backup, _backup_seeds, 512),
)
