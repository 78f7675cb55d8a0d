"""The loads, in a process of their own: ``python -m torpydo.cli.bench.loads LOAD ... --server PORT``.

It prints one JSON object: for each key of the table its samples, one for each run. The same code measures every
system, through its SOCKS5 port, and a direct connection.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import attrs

from torpydo.cli.bench.bulk import Downloads, Extent, dial_all, upload
from torpydo.cli.bench.dialing import Dialer, end
from torpydo.cli.bench.echoes import echo, echoes_beside, trip
from torpydo.cli.bench.marks import Marks, percentile
from torpydo.cli.constants import LOOPBACK
from torpydo.errors import TorpydoError

__all__ = ["LOADS", "Load", "Settings", "measure"]

STREAMS = 16
FAIR = 20
# Seconds from the end of one stream to the question for the next. Where Nagle's algorithm is on, as in tor, what is
# asked sooner waits until the cell that ended the stream is acknowledged, which may take 40 ms.
CLOSED = 0.06
# How long the fairness load goes on, in times that a transfer gets to settle.
FAIR_SETTLES = 6
# Seconds after which a transfer must have reached its speed.
STEADY = 3.0

Samples = dict[str, float]


@attrs.frozen
class Settings:
    """How much is done in one run."""

    extent: Extent
    """Of a bulk transfer."""
    trips: int
    """Round trips."""
    opens: int
    """Streams opened one after the other."""
    settle: float
    """Seconds that a bulk transfer gets before anything is measured beside it."""


@attrs.define(eq=False)
class Load:
    """What one run has: where to connect, names for circuits that no other run uses, and the course of transfers."""

    dialer: Dialer
    settings: Settings
    run: int
    seconds: dict[str, list[float]] = attrs.field(factory=dict)
    """MB/s of each second, by key."""

    def users(self, what: str, count: int = 1) -> list[str]:
        """Names for *count* circuits."""
        return [f"{what}-{self.run}-{number}" for number in range(count)]

    def bulk(self, key: str, marks: Marks) -> Samples:
        """The samples of a transfer of one stream."""
        extent = self.settings.extent
        self.seconds[key] = marks.each_second(extent.seconds, extent.size)
        samples = {key: marks.overall(extent.seconds, extent.size)}
        if extent.seconds > STEADY and marks.total < extent.size:
            samples[f"{key}_3s"] = marks.rate(STEADY, extent.seconds)
        return samples


def _download(load: Load) -> Samples:
    connections = dial_all(load.dialer, load.users("download"))
    return load.bulk("download", Downloads(connections).run(load.settings.extent))


def _upload(load: Load) -> Samples:
    return load.bulk("upload", upload(load.dialer, load.users("upload")[0], load.settings.extent))


def _streams16(load: Load) -> Samples:
    extent = load.settings.extent
    connections = dial_all(load.dialer, load.users("streams", STREAMS))
    return {"streams16": Downloads(connections).run(extent).overall(extent.seconds, extent.size)}


@contextmanager
def _beside(load: Load, users: Sequence[str]) -> Iterator[Downloads]:
    """Downloads that go on in a thread while the block is executed, after they had time to settle."""
    downloads = Downloads(dial_all(load.dialer, users))
    failures: list[TorpydoError] = []

    def receive() -> None:
        try:
            downloads.run(Extent(3600.0, sys.maxsize))
        except TorpydoError as error:
            failures.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        time.sleep(load.settings.settle)
        yield downloads
    finally:
        downloads.stop()
        thread.join()
    for failure in failures:
        raise failure


def _rtt(load: Load) -> Samples:
    with echo(load.dialer, load.users("echo")[0]) as connection:
        taken = [trip(connection) for _ in range(load.settings.trips)]
    return {"rtt": median(taken), "rtt_p95": percentile(taken, 0.95)}


def _rtt_loaded(load: Load) -> Samples:
    with echo(load.dialer, load.users("echo")[0]) as connection, _beside(load, load.users("beside")):
        return {"rtt_loaded": median(trip(connection) for _ in range(load.settings.trips))}


def _opening(load: Load, users: Sequence[str]) -> float:
    """Milliseconds from the question for a stream to the answer, in the middle; a stream for each user."""
    taken = []
    for user in users:
        connection = load.dialer.approach(user)
        asked = time.monotonic()
        load.dialer.request(connection)
        taken.append((time.monotonic() - asked) * 1000)
        end(connection)
        time.sleep(CLOSED)
    return median(taken)


def _open_stream(load: Load) -> Samples:
    user = load.users("open")[0]
    with echo(load.dialer, user):
        return {"open_stream": _opening(load, [user] * load.settings.opens)}


def _new_user(load: Load) -> Samples:
    return {"new_user": _opening(load, load.users("new", load.settings.opens))}


def _fair20(load: Load) -> Samples:
    seconds = min(FAIR_SETTLES * load.settings.settle, load.settings.extent.seconds)
    with echoes_beside(load.dialer, load.users("fair-echo", FAIR), seconds) as echoes:
        with _beside(load, load.users("fair-bulk", FAIR)) as downloads:
            before = list(downloads.each)
            taken = echoes.run()
            brought = [now - then for now, then in zip(downloads.each, before, strict=True)]
    share = min(brought) * FAIR / max(sum(brought), 1)
    return {"fair20_echo": percentile(taken, 0.95), "fair20_share": share}


LOADS: dict[str, Callable[[Load], Samples]] = {
    "download": _download,
    "upload": _upload,
    "streams16": _streams16,
    "rtt": _rtt,
    "rtt_loaded": _rtt_loaded,
    "open_stream": _open_stream,
    "new_user": _new_user,
    "fair20": _fair20,
}


def measure(names: Sequence[str], dialer: Dialer, settings: Settings, runs: int) -> dict[str, dict[str, list[float]]]:
    """Run each load *runs* times, all loads in turn so that a slow moment of the machine does not meet one only.

    :returns: ``samples``: for each key a sample for each run; ``seconds``: MB/s of each second of the last run
    """
    samples: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for run in range(runs):
        found: Samples = {}
        for name in names:
            load = Load(dialer, settings, run)
            found |= LOADS[name](load)
            seconds |= load.seconds
        if "rtt" in found and "rtt_loaded" in found:
            found["queue"] = found["rtt_loaded"] - found["rtt"]
        for key, value in found.items():
            samples.setdefault(key, []).append(value)
    return {"samples": samples, "seconds": seconds}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.loads", allow_abbrev=False)
    parser.add_argument("loads", nargs="+", metavar="LOAD", choices=sorted(LOADS))
    parser.add_argument("--server", type=int, required=True, metavar="PORT", help="of what leads to the destination")
    parser.add_argument("--host", default=LOOPBACK, metavar="NAME", help="where that port is (default: this machine)")
    parser.add_argument("--own-port", type=int, metavar="PORT", help="of the destination itself (default: the same)")
    parser.add_argument("--socks", type=int, metavar="PORT", help="of the proxy (default: none)")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of a bulk transfer")
    parser.add_argument("--bytes", type=int, default=sys.maxsize, metavar="N", help="of a bulk transfer, at the most")
    parser.add_argument("--trips", type=int, default=200, metavar="N", help="round trips in a run")
    parser.add_argument("--opens", type=int, default=50, metavar="N", help="streams opened in a run")
    parser.add_argument("--settle", type=float, default=0.5, metavar="S", help="of a transfer that others run beside")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    settings = Settings(Extent(options.seconds, options.bytes), options.trips, options.opens, options.settle)
    dialer = Dialer(options.server, options.socks, options.own_port, options.host)
    try:
        found = measure(options.loads, dialer, settings, options.runs)
    except TorpydoError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
