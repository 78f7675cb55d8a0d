"""Tests of torpydo.net.listingcache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import key, url
from tests.net.pools import unkeyed
from torpydo.errors import ListingError
from torpydo.net.listingcache import CachedListing, cache_name

POOL = key("pool").pool_id


class CachedListingTests(SynchronousTestCase):
    """The file of a pool's last listing."""

    @given(sequence=st.integers(0, 2**64 - 1), data=st.binary(max_size=200))
    def test_round_trip(self, sequence: int, data: bytes) -> None:
        """What was written is read."""
        cached = CachedListing(POOL, sequence, data)
        self.assertEqual(CachedListing.decode(cached.encode()), cached)

    @given(cut=st.integers(0, 99))
    def test_every_prefix_is_refused(self, cut: int) -> None:
        """A torn file is an error, never half a listing."""
        blob = CachedListing(POOL, 7, b"0123456789").encode()
        self.assertRaises(ListingError, CachedListing.decode, blob[: cut % len(blob)])

    @given(position=st.integers(0, 99), flip=st.integers(1, 255))
    def test_every_changed_byte_is_refused(self, position: int, flip: int) -> None:
        """A file that was damaged is an error."""
        blob = bytearray(CachedListing(POOL, 7, b"0123456789").encode())
        blob[position % len(blob)] ^= flip
        self.assertRaises(ListingError, CachedListing.decode, bytes(blob))

    def test_names(self) -> None:
        """A pool with a key has its file by key; one without by address."""
        self.assertEqual(cache_name(url()), f"listing-{POOL}")
        self.assertEqual(cache_name(unkeyed()), "listing-127.0.0.1-8080")
