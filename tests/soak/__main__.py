"""``python -m tests.soak --time=1h``: see docs/howto/soak."""

from __future__ import annotations

import argparse
import functools
import resource
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.python.filepath import FilePath

from tests.soak.faults import choose
from tests.soak.network import Network, Size
from tests.soak.plan import Plan, seconds_in
from tests.soak.soak import Soak
from tests.soak.table import lines
from torpydo.cli.running import run_to_end

MEGABYTE = 1_000_000


def _say(text: str) -> None:
    print(text, flush=True)


def _raise_file_limit() -> None:
    """A thousand slow connections are a thousand descriptors; those of the children are the same."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    directory = FilePath(tempfile.mkdtemp(prefix="torpydo-soak-", dir=options.directory))
    random = Random(options.seed)
    plan = Plan(options.time)
    size = Size(options.pools, options.nodes, options.clients)
    network = Network(reactor, directory, size, random, options.patience)
    faults = choose(options.faults or plan.faults)
    chosen = options.faults is not None
    soak = Soak(network, plan, faults, random, chosen=chosen, rate=options.rate * MEGABYTE, say=_say)
    _say(f"{plan.seconds:.0f} s, seed {options.seed}, logs in {directory.path}")
    keep = True
    try:
        await network.start()
        await soak.run()
    finally:
        await soak.end()
        run = soak.judged()
        if run is not None:
            keep = bool(run.breaches())
            for line in lines(run):
                _say(line)
        if keep:
            _say(f"the logs are in {directory.path}")
        else:
            shutil.rmtree(directory.path)
    return 1 if keep else 0


def main(argv: Sequence[str]) -> int:
    """Soak."""

    def checked(read: Any, text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def faults(text: str) -> str:
        checked(choose, text)
        return text

    parser = argparse.ArgumentParser(prog="python -m tests.soak", allow_abbrev=False)
    parser.add_argument("--time", type=functools.partial(checked, seconds_in), default=3600.0, help="20s, 10m, 1h, 24h")
    parser.add_argument("--faults", type=faults, help="all, quick, none, or numbers of SECURITY section 3: 1,16,39")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="for a run with the same choices")
    parser.add_argument("--rate", type=float, default=10.0, help="megabytes a second at the most (10)")
    parser.add_argument("--pools", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--patience", type=float, default=1.0, help="by how much times may be exceeded (1)")
    parser.add_argument("--directory", help="where the logs are kept while it runs")
    options = parser.parse_args(argv)
    _raise_file_limit()
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
