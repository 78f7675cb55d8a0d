"""A listing of many nodes, in a process of its own: ``python -m torpydo.cli.bench.scaledirectory --nodes N ...``.

It prints JSON: for each number of nodes the seconds from a listing's bytes to a view from which paths can be chosen,
and the seconds of each choice. Every time is of work alone: nothing is fetched.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence

from torpydo.cli.bench.scalemembers import make_members
from torpydo.crypto import SigningKey
from torpydo.directory import Listing, ListingEntry, NetDir, PoolURL, choose_path, parse_listing, sign_listing

__all__ = ["measure"]

HOPS = 3
PORT = 443


def _signed(key: SigningKey, documents: Sequence[bytes], now: int) -> bytes:
    listing = Listing(
        pool_id=key.pool_id,
        sequence=now * 1000,
        valid_after=now,
        fresh_until=now + 3600,
        valid_until=now + 3 * 3600,
        parameters={},
        entries=tuple(ListingEntry(document, now) for document in documents),
    )
    return sign_listing(listing, key)


def measure(counts: Sequence[int], runs: int, paths: int) -> dict[str, dict[str, list[float]]]:
    """Measure.

    :param counts: numbers of nodes
    :param runs: how often each listing is read
    :param paths: how many paths are chosen in each view
    :returns: for each count ``ready``, a sample for each run, and ``path``, one for each choice in the first view
    """
    now = int(time.time())
    key = SigningKey(os.urandom(32))
    url = PoolURL("pool.example", 80, key.pool_id)
    documents = [member.document for member in make_members(max(counts), now, port=6000, public=True)]
    signed = {count: _signed(key, documents[:count], now) for count in counts}
    found: dict[str, dict[str, list[float]]] = {str(count): {"ready": [], "path": []} for count in counts}
    # In turn, so that a slow moment of the machine does not meet one size only.
    for run in range(runs):
        for count in counts:
            # What earlier runs left is not collected at the cost of this one.
            gc.collect()
            samples = found[str(count)]
            began = time.perf_counter()
            listing = parse_listing(signed[count], key.pool_id, now)
            view = NetDir.merge({url: listing}, [url], None, now)
            samples["ready"].append(time.perf_counter() - began)
            if run == 0:
                for _ in range(paths):
                    began = time.perf_counter()
                    choose_path(view, hops=HOPS, port=PORT, randbelow=secrets.randbelow)
                    samples["path"].append(time.perf_counter() - began)
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.scaledirectory", allow_abbrev=False)
    parser.add_argument("--nodes", type=int, nargs="+", required=True, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--paths", type=int, default=1000, metavar="N")
    options = parser.parse_args(argv)
    print(json.dumps(measure(options.nodes, options.runs, options.paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
