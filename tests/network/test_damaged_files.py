"""Every file that a node, a pool or a client keeps, damaged in forty ways and more (SECURITY X3, fault 22).

A key is never made anew: without it the node or pool would be somebody else. What can be learned or fetched again is,
once the damaged file is out of the way; nothing is written over it before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from random import Random
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import exits, make_paths, want
from tests.directory.build import NOW, key, url
from tests.pool.test_store import record
from torpydo.client.keeping import TIMES_FILE, KeptTimes
from torpydo.client.paths import GUARDS_FILE, Want
from torpydo.client.vanguards import VANGUARDS_FILE
from torpydo.crypto import document_hash
from torpydo.errors import StateError
from torpydo.net import StateDirectory
from torpydo.net.listingcache import CachedListing, ListingCache, cache_name
from torpydo.node.onionkeys import FILE as ONION_KEYS
from torpydo.node.onionkeys import OnionKeys
from torpydo.pool.store import Store

HUGE = 1024**3
DATABASE = "pool.db"


def damaged(whole: bytes) -> list[bytes]:
    """At least forty files that are not *whole*: cut, filled, flipped, of another version, of something else."""
    random = Random(len(whole))
    size = len(whole)
    found = [b"", b"\0", b"\n", b"garbage", whole[: size // 2], whole[size // 2 :], whole[:-1], whole[1:]]
    found += [whole + b"\0", whole + b"\n", whole + whole, whole[::-1], bytes(size), b"\xff" * size]
    found += [random.randbytes(size), random.randbytes(3 * size), b"{}", b"-----BEGIN PRIVATE KEY-----\n"]
    found += [whole.replace(b" 1\n", b" 2\n", 1), whole.replace(b"torpydo", b"TORPYDO", 1)]
    # A sector that was lost, and a sector of another file.
    for start in (0, size // 4, size // 3):
        found.append(whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :])
        found.append(whole[:start] + random.randbytes(len(whole[start : start + 64])) + whole[start + 64 :])
    # Its own hash is right, and nothing else.
    for body in (b"", b"\x92\x02\x90", b"\x92\x01\xc0", b"\x90" * 2000, random.randbytes(100), whole):
        found += [document_hash(body) + body, body + document_hash(body)]
    for _ in range(16):
        place = random.randrange(size)
        found.append(whole[:place] + bytes([whole[place] ^ 1 << random.randrange(8)]) + whole[place + 1 :])
    return [one for one in dict.fromkeys(found) if one != whole]


@attrs.frozen
class Kind:
    """One kind of file.

    :ivar make: writes a good one
    :ivar use: reads it, and does what a start does with it
    """

    name: str
    make: Callable[[StateDirectory], Any]
    use: Callable[[StateDirectory], Any]


def kept_times(state: StateDirectory) -> KeptTimes:
    """The build times of a client."""
    kept = KeptTimes(state, Clock())
    for _ in range(5):
        kept.known.built(3, 2.0, late=False)
    return kept


def used_store(state: StateDirectory) -> Store:
    """The database of a pool, read as at a start, and closed."""
    store = Store.open(state.reserve(DATABASE))
    try:
        store.nodes()
        store.reserve_sequence(store.sequence() + 1)
        store.write([record(1)])
    finally:
        store.close()
    return store


def draw(size: int) -> bytes:
    """Not random, so that a key that was made anew is seen."""
    return b"k" * size


CACHED = CachedListing(key("pool").pool_id, 7, b"listing" * 100)
KEYS = (
    Kind(
        "node.key", lambda state: state.signing_key("node.key", draw), lambda state: state.signing_key("node.key", draw)
    ),
    Kind(
        "pool.key", lambda state: state.signing_key("pool.key", draw), lambda state: state.signing_key("pool.key", draw)
    ),
    Kind(ONION_KEYS, lambda state: OnionKeys.open(state, draw, NOW), lambda state: OnionKeys.open(state, draw, NOW)),
)
LEARNED = (
    Kind(
        GUARDS_FILE,
        lambda state: make_paths(exits(), state=state).choose(want()),
        lambda state: make_paths(exits(), state=state).choose(want()),
    ),
    Kind(
        VANGUARDS_FILE,
        lambda state: make_paths(exits(), state=state).choose(Want("", None, anywhere=True)),
        lambda state: make_paths(exits(), state=state).choose(Want("", None, anywhere=True)),
    ),
    Kind(TIMES_FILE, lambda state: kept_times(state).save(), lambda state: kept_times(state).save()),
    Kind(
        cache_name(url()),
        lambda state: ListingCache(state).save(url(), CACHED),
        lambda state: ListingCache(state).load(url()) or ListingCache(state).save(url(), CACHED),
    ),
)


class DamagedFileTests(SynchronousTestCase):
    """A start with such a file."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch)
        self.path = os.path.join(scratch, "state")
        self.state = StateDirectory.open(self.path)
        self.addCleanup(self.state.close)

    def file(self, name: str) -> str:
        """Its full path."""
        return os.path.join(self.path, name)

    def content(self, name: str) -> bytes:
        """What is in it now."""
        with open(self.file(name), "rb") as file:
            return file.read()

    def put(self, name: str, content: bytes) -> None:
        """A file as something that is not torpydo left it."""
        with open(os.open(self.file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

    def whole(self, kind: Kind) -> bytes:
        """A good file of that kind, which can be used."""
        kind.make(self.state)
        before = self.content(kind.name)
        kind.use(self.state)
        self.assertFalse(os.path.exists(self.file(f"{kind.name}.bad")))
        return before

    def test_keys(self) -> None:
        """Refused with the path and what to do, and the file stays what it is: no key is ever made anew."""
        for kind in KEYS:
            ways = damaged(self.whole(kind))
            self.assertGreater(len(ways), 40)
            for content in ways:
                self.put(kind.name, content)
                error = str(self.assertRaises(StateError, kind.use, self.state))
                self.assertIn(self.file(kind.name), error)
                self.assertIn("put a backup in its place", error)
                self.assertEqual(self.content(kind.name), content)

    def test_what_can_be_learned_again(self) -> None:
        """Renamed, said once, and made anew: what was there is still there under the other name."""
        for kind in LEARNED:
            ways = damaged(self.whole(kind))
            self.assertGreater(len(ways), 40)
            for content in ways:
                self.put(kind.name, content)
                with capturedLogs() as events:
                    kind.use(self.state)
                self.assertEqual(self.content(f"{kind.name}.bad"), content)
                lines = [event for event in events if "set aside" in event["log_format"]]
                self.assertEqual([event["path"] for event in lines], [self.file(f"{kind.name}.bad")])
                self.assertNotEqual(self.content(kind.name), content)
                with capturedLogs() as events:
                    kind.use(self.state)
                self.assertEqual([event for event in events if event["log_level"].name == "warn"], [])

    def test_a_file_that_cannot_be_set_aside(self) -> None:
        """The only copy of a client's guards or vanguards is not written over: the start fails. Others are learned."""
        for kind in LEARNED:
            self.whole(kind)
            self.put(kind.name, b"torn")
            os.mkdir(self.file(f"{kind.name}.bad"))
            if kind.name in (GUARDS_FILE, VANGUARDS_FILE):
                self.assertIn(self.file(kind.name), str(self.assertRaises(StateError, kind.use, self.state)))
                self.assertEqual(self.content(kind.name), b"torn")
            else:
                kind.use(self.state)
            os.rmdir(self.file(f"{kind.name}.bad"))
            os.unlink(self.file(kind.name))

    def test_a_gigabyte(self) -> None:
        """A file that is far too large is refused before it is read, with the path and what to do."""
        for kind in (*KEYS, *LEARNED):
            self.whole(kind)
            os.truncate(self.file(kind.name), HUGE)
            error = str(self.assertRaises(StateError, kind.use, self.state))
            self.assertIn(self.file(kind.name), error)
            self.assertIn("move it away", error)
            os.unlink(self.file(kind.name))

    def test_the_database(self) -> None:
        """A pool's database is refused with the path and what to do, or what is read of it makes sense."""
        store = Store.open(self.state.reserve(DATABASE))
        store.write([record(name, document=bytes(900)) for name in range(30)])
        store.reserve_sequence(NOW * 1000)
        store.close()
        whole = self.content(DATABASE)
        refused = 0
        for content in (*damaged(whole), whole + bytes(100_000)):
            for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
                self.state.delete(name)
            self.put(DATABASE, content)
            try:
                used_store(self.state)
            except StateError as error:
                self.assertIn(self.file(DATABASE), str(error))
                self.assertRegex(str(error), "put a backup in its place|move it away|check the disk")
                refused += 1
        self.assertGreater(refused, 20)
