"""The file that holds the last listing of a pool: which key is pinned, how far its sequence got, the signed bytes.

The three are one file so that one atomic write keeps them together. Called by listings.
"""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from torpydo.crypto import KEY_SIZE, PoolId, document_hash
from torpydo.directory import PoolURL
from torpydo.errors import BadKey, ListingError, StateError
from torpydo.net.state import StateDirectory
from torpydo.wire import NeedMore, Reader, Writer

MAGIC = b"torpydo listing 1\n"
HASH_SIZE = 32


def cache_name(url: PoolURL) -> str:
    """The name of a pool's file: by key, or by address for a loopback pool whose key is pinned at first use."""
    if url.pool_id is not None:
        return f"listing-{url.pool_id}"
    return f"listing-{url.host}-{url.port}"


@attrs.frozen
class CachedListing:
    """What survives a restart.

    :ivar pool_id: the pinned key
    :ivar sequence: the highest sequence that was taken from this pool
    :ivar data: the listing as it was fetched
    """

    pool_id: PoolId
    sequence: int
    data: bytes

    def encode(self) -> bytes:
        """The file: magic ‖ hash of the rest ‖ key ‖ sequence u64 ‖ listing."""
        rest = self.pool_id.raw + self.sequence.to_bytes(8, "big") + self.data
        return Writer().put(MAGIC).put(document_hash(rest)).put(rest).getvalue()

    @classmethod
    def decode(cls, blob: bytes) -> CachedListing:
        """Read the file.

        :raises ListingError: if it is torn or is something else
        """
        reader = Reader(blob)
        try:
            if reader.take(len(MAGIC)) != MAGIC:
                raise ListingError("it is not a cached listing")
            expected = reader.take(HASH_SIZE)
            data = reader.rest()
            if document_hash(data) != expected:
                raise ListingError("it is torn")
            rest = Reader(data)
            return cls(PoolId(rest.take(KEY_SIZE)), rest.u64(), rest.rest())
        except NeedMore:
            raise ListingError("it is torn") from None
        except BadKey as error:
            raise ListingError(f"its key is refused: {error}") from None


class ListingCache:
    """The files of all pools.

    :param state: where they are; ``None`` keeps nothing
    """

    log = Logger()

    def __init__(self, state: StateDirectory | None) -> None:
        self._state = state
        self._failing = False

    def load(self, url: PoolURL) -> CachedListing | None:
        """What was saved for *url*; a file that is damaged is set aside, one of another pool is not used.

        :raises StateError: if the file cannot be trusted
        """
        if self._state is None:
            return None
        name = cache_name(url)
        blob = self._state.read(name)
        if blob is None:
            return None
        try:
            cached = CachedListing.decode(blob)
        except ListingError as error:
            self._set_aside(self._state, name, error)
            return None
        return cached if url.pool_id in (None, cached.pool_id) else None

    def save(self, url: PoolURL, cached: CachedListing) -> None:
        """Keep *cached*. A disk that is full costs one line, not the listing."""
        if self._state is None:
            return
        try:
            self._state.write(cache_name(url), cached.encode())
        except StateError as error:
            self._failed(error)
        else:
            self._failing = False

    def _set_aside(self, state: StateDirectory, name: str, why: ListingError) -> None:
        try:
            path = state.set_aside(name)
        except StateError as error:
            # It is written over soon. The mark below which no listing is taken goes with it (SECURITY N3): who can tear
            # this file could delete it as well.
            self._failed(error)
        else:
            self.log.warn("a cached listing is set aside as {path}: {error}", path=path, error=str(why))

    def _failed(self, error: StateError) -> None:
        if not self._failing:
            self.log.warn("listings are not kept on disk: {error}", error=str(error))
        self._failing = True
