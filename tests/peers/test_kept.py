"""What a table keeps on disk: bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import presence, record
from torpydo.crypto import document_hash
from torpydo.errors import StateError
from torpydo.peers import MAX_RECORD, Kept, KeptPeer

PEERS = st.lists(
    st.builds(KeptPeer, st.binary(min_size=8, max_size=MAX_RECORD), st.none() | st.integers(0, 24 * 366)), max_size=20
)


class KeptTests(SynchronousTestCase):
    """The file."""

    @given(st.booleans(), PEERS)
    def test_round_trip(self, has_own: bool, peers: list[KeptPeer]) -> None:
        """What is written is read."""
        kept = Kept(presence() if has_own else None, tuple(peers))
        self.assertEqual(Kept.decode(kept.encode()), kept)

    def test_golden(self) -> None:
        """The format must not change by itself: what was kept must be read after an update."""
        body = b"\x93\x01\xc0\x92\x92\xc4\x08recordA1\xc0\x92\xc4\x08recordB2\x05"
        kept = Kept(None, (KeptPeer(b"recordA1"), KeptPeer(b"recordB2", 5)))
        self.assertEqual(kept.encode(), document_hash(body) + body)

    def test_torn(self) -> None:
        """Every part of it is refused, and it with any byte changed or one more."""
        whole = Kept(presence(), (KeptPeer(record(2)), KeptPeer(record(3), 5))).encode()
        for size in range(len(whole)):
            self.assertRaises(StateError, Kept.decode, whole[:size])
            changed = bytearray(whole)
            changed[size] ^= 1
            self.assertRaises(StateError, Kept.decode, bytes(changed))
        self.assertRaises(StateError, Kept.decode, whole + b"\0")

    def test_foreign(self) -> None:
        """With the right hash of something else: another format, more peers than a table has, what is no record."""
        for body in (
            b"", b"\x93\x02\xc0\x90", b"\x93\x01\xc4\x08norecord\x90", b"\x92\x01\xc0", b"\x94\x01\xc0\x90\xc0",
            b"\x93\x01\xc0\x91\x92\xc4\x08recordA1\xff", b"\x91" * 100_000,
            b"\x93\x01\xc0\xdc\x07\xd1" + b"\x92\xc4\x0812345678\xc0" * 2001,
        ):  # fmt: skip
            self.assertRaises(StateError, Kept.decode, document_hash(body) + body)

    def test_no_more_than_are_read(self) -> None:
        """Of more the first are written."""
        kept = Kept(None, tuple(KeptPeer(number.to_bytes(8, "big")) for number in range(2500)))
        self.assertEqual(Kept.decode(kept.encode()).peers, kept.peers[:2000])
