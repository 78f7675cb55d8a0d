"""Tests of torpydo.cli.samples."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import getChildForRequest
from twisted.web.test.requesthelper import DummyRequest

from torpydo.cli.samples import MEBIBYTE, SampleWeb, sample_digest, samples


def get(path: bytes, method: bytes = b"GET") -> DummyRequest:
    """The finished request for *path*."""
    request = DummyRequest([path])
    request.method = method
    resource = getChildForRequest(SampleWeb(), request)
    body = resource.render(request)
    if isinstance(body, bytes):
        request.write(body)
        request.finish()
    return request


class SampleTests(SynchronousTestCase):
    """The sample data."""

    @given(size=st.integers(min_value=0, max_value=MEBIBYTE))
    def test_a_sample_has_the_size_that_was_asked_for(self, size: int) -> None:
        """Not a byte more, at the edge of a block neither."""
        self.assertEqual(sum(map(len, samples(size))), size)

    def test_a_short_sample_begins_like_a_long_one(self) -> None:
        """There is one endless sequence; a size only cuts it."""
        whole = b"".join(samples(600_000))
        self.assertEqual(b"".join(samples(300_000)), whole[:300_000])

    def test_no_two_blocks_are_equal(self) -> None:
        """A block that came twice, or in another's place, changes the digest."""
        blocks = list(samples(2 * MEBIBYTE))
        self.assertEqual(len(set(blocks)), len(blocks))

    def test_the_digest_is_that_of_the_bytes(self) -> None:
        """Whoever knows the size knows the digest."""
        self.assertEqual(sample_digest(300_001), hashlib.sha256(b"".join(samples(300_001))).hexdigest())


class WebTests(SynchronousTestCase):
    """The web server."""

    def test_the_path_is_the_size(self) -> None:
        """``/SIZE`` gives as many bytes, and says so before."""
        request = get(b"300001")
        self.assertEqual(b"".join(request.written), b"".join(samples(300_001)))
        self.assertEqual(request.responseHeaders.getRawHeaders(b"content-length"), [b"300001"])

    def test_m_means_mebibytes(self) -> None:
        """``/1M`` is shorter to type."""
        self.assertEqual(sum(map(len, get(b"1M").written)), MEBIBYTE)

    def test_an_empty_sample_ends(self) -> None:
        """``/0`` is answered too."""
        request = get(b"0")
        self.assertEqual((request.written, request.finished), ([], 1))

    def test_head_gives_no_body(self) -> None:
        """A client that only wants to know the size gets only that."""
        request = get(b"5M", b"HEAD")
        self.assertEqual(b"".join(request.written), b"")
        self.assertEqual(request.responseHeaders.getRawHeaders(b"content-length"), [b"5242880"])

    def test_anything_else_is_not_found(self) -> None:
        """A path that is no size, or a size that is absurd, is 404."""
        for path in (b"", b"index.html", b"-1", b"1K", b"9999999999999", b"12345678901234"):
            self.assertEqual(get(path).responseCode, 404, path)
