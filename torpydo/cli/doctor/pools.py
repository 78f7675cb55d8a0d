"""What the doctor hears from one pool: its time and its listing, checked as a client checks them. Called by command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from torpydo.cli.doctor.findings import Findings
from torpydo.directory import Listing, PoolURL, parse_listing, peek_pool_id
from torpydo.errors import CryptoError, ListingError, PoolUnreachable
from torpydo.net import Fetched, read_skew

__all__ = ["Answer", "ask_pool"]

LISTING_PATH: Final = "/v1/listing"
TIME_PATH: Final = "/v1/time"
ASK_TIME: Final = 8.0
"""Seconds for each of the two questions, which are asked at the same time."""
NAMED_SKEW: Final = 60.0
REFUSED_SKEW: Final = 300.0
"""Seconds of clock difference that are worth telling, and with which heartbeats are refused."""

FetchFunction = Callable[..., Deferred[Fetched]]
"""Called like :func:`torpydo.net.fetch`."""


@attrs.frozen
class Answer:
    """What a pool said.

    :ivar listing: ``None``: it gave none that can be used
    :ivar now: the time by which it was judged, seconds since 1970
    """

    listing: Listing | None
    now: float


def name_of(url: PoolURL) -> str:
    """What the findings call a pool."""
    return f"pool {url.host}:{url.port}"


async def ask_pool(
    reactor: Any, url: PoolURL, findings: Findings, *, fetch: FetchFunction, wall_clock: Callable[[], float]
) -> Answer:
    """Ask one pool, and say what is wrong with it."""
    name = name_of(url)
    questions = [
        fetch(reactor, url.host, url.port, TIME_PATH, limit=64, timeout=ASK_TIME),
        fetch(reactor, url.host, url.port, LISTING_PATH, timeout=ASK_TIME),
    ]
    (_, time), (_, listing) = await DeferredList(questions, consumeErrors=True)
    skew = _skew(time, wall_clock)
    if skew is not None:
        _look_at_clock(findings, name, skew)
    # A clock that is wrong is one finding, and the rest is to be told all the same.
    now = wall_clock() - (skew if skew is not None and abs(skew) > REFUSED_SKEW else 0.0)
    if isinstance(listing, Failure):
        if not isinstance(listing.value, PoolUnreachable):
            listing.raiseException()
        findings.problem(
            name, str(listing.value), "the pool is down, or something lies between",
            "check the URL, the name and the firewall in between; ask the pool's operator whether it runs",
        )  # fmt: skip
        return Answer(None, now)
    if listing.status != 200:
        findings.problem(
            name, f"it answers with status {listing.status} instead of a listing",
            "something else answers there, or a web server in front of the pool does not find it",
            "compare the URL with the pool's STATE/pool.url",
        )  # fmt: skip
        return Answer(None, now)
    return Answer(_read(findings, name, url, listing.body, now), now)


def _skew(answer: Fetched | Failure, wall_clock: Callable[[], float]) -> float | None:
    # What is wrong with an answer is said with the listing.
    return None if isinstance(answer, Failure) else read_skew(answer, wall_clock())


def _look_at_clock(findings: Findings, name: str, skew: float) -> None:
    apart = f"this computer's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the pool's"
    if abs(skew) > REFUSED_SKEW:
        findings.problem(
            name, apart,
            "one of the two clocks is wrong; beyond five minutes heartbeats are refused, and listings of the future;"
            " beyond an hour no listing is used",
            "set the clock, with NTP; if other pools agree with this computer, tell the pool's operator",
        )  # fmt: skip
    elif abs(skew) > NAMED_SKEW:
        findings.warn(name, apart, "one of the two clocks is wrong", "set the clock, with NTP")
    else:
        findings.ok(name, "its clock and this computer's agree")


def _read(findings: Findings, name: str, url: PoolURL, data: bytes, now: float) -> Listing | None:
    try:
        pool_id = url.pool_id or peek_pool_id(data)
        listing = parse_listing(data, pool_id, now)
    except (ListingError, CryptoError) as error:
        findings.problem(
            name, str(error), "the pool has another key than its URL says, or what it answers is damaged or forged",
            "copy the URL from the pool's STATE/pool.url again; do not use a pool whose key has changed without a word",
        )  # fmt: skip
        return None
    if url.pool_id is None:
        findings.warn(
            name, f"its URL has no key; now it shows {pool_id}", "the key is pinned at first use, on loopback only",
            "use the whole URL from the pool's STATE/pool.url",
        )  # fmt: skip
    age = now - listing.sequence / 1000
    signed = f"{len(listing.entries)} nodes, signed {age:.0f} s ago, digest {listing.digest[:16]}"
    if listing.is_expired(now):
        findings.problem(
            name, f"its listing has expired: {signed}", "the pool, or the mirror in front of it, gives an old one",
            "ask its operator; what runs goes on with it for a day",
        )  # fmt: skip
    elif not listing.is_fresh(now):
        findings.warn(
            name, f"its listing is not fresh: {signed}", "a cache in front of the pool keeps it for too long",
            "ask its operator",
        )  # fmt: skip
    else:
        findings.ok(name, f"its listing is valid: {signed}")
    return listing
