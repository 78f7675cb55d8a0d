"""Measure the network's speed on this machine, line by line.

Everything is started as separate processes on loopback, and ended and removed at the end, whatever happens.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import attrs
from twisted.python.filepath import FilePath

from torpydo import __version__
from torpydo.cli.bench.attack import AttackPlan, Attacks
from torpydo.cli.bench.dhtlookups import LOOKUPS
from torpydo.cli.bench.dhtreport import dht_table
from torpydo.cli.bench.distance import Distance
from torpydo.cli.bench.figures import Figure, figures_to_json
from torpydo.cli.bench.floors import Direct, Floor, Pipeline
from torpydo.cli.bench.goals import ALL_GOALS, ALL_LINES
from torpydo.cli.bench.measuring import Measuring
from torpydo.cli.bench.onion import OnionPlan, Onions
from torpydo.cli.bench.peersfound import PEERS
from torpydo.cli.bench.peersreport import peers_table
from torpydo.cli.bench.picture import check_picture, draw
from torpydo.cli.bench.plan import LONG_KEYS, Plan, plan_of
from torpydo.cli.bench.report import OURS, seconds_lines, table
from torpydo.cli.bench.scale import Scale, ScalePlan
from torpydo.cli.bench.simulated import Kind, PlanT, simulate
from torpydo.cli.bench.systems import Place, System
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.bench.together import together, watched
from torpydo.cli.bench.torkeys import TorPrograms
from torpydo.cli.bench.tornet import TorSystem
from torpydo.cli.bench.torpydonet import TorpydoSystem
from torpydo.cli.network import until_listening
from torpydo.cli.output import FileOutput
from torpydo.cli.processes import ChildProcesses, free_port
from torpydo.errors import ConfigurationError, StateError, TorpydoError

__all__ = ["arguments", "run"]

MOST_RUNS = 100


def _between(least: float, most: float, kind: type[float] = float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g}, not {text!r}")
        return value

    return read


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo bench``."""
    parser.add_argument(
        "--delay", type=_between(0, 1000), default=0.0, metavar="MS", help="make each link this long (default: 0)"
    )
    parser.add_argument("--rate", type=_between(1, 10_000), metavar="MBIT", help="let each node's line carry this")
    parser.add_argument("--against-tor", action="store_true", help="measure private networks of C tor as well")
    parser.add_argument("--alone", action="store_true", help="leave out what stands beside: direct and pipeline")
    parser.add_argument("--runs", type=_between(1, MOST_RUNS, int), default=3, metavar="N", help="samples (default: 3)")
    parser.add_argument(
        "--only", nargs="+", choices=tuple(ALL_LINES), metavar="KEY", help="measure these lines only; see --list"
    )
    parser.add_argument("--scale", action="store_true", help="measure many circuits, streams, nodes and heartbeats too")
    parser.add_argument("--attack", action="store_true", help="measure what is left beside attacks on a node too")
    parser.add_argument("--onion", action="store_true", help="measure an onion service, and the way to it, too")
    parser.add_argument("--dht", action="store_true", help="simulate lookups in the DHT instead of measuring a network")
    parser.add_argument(
        "--dht-nodes", nargs="+", type=_between(2, 100_000, int), metavar="N", help="... among so many nodes"
    )
    parser.add_argument(
        "--dht-liars", nargs="+", type=_between(0, 90), metavar="PERCENT", help="... of which these shares lie (0 20)"
    )
    parser.add_argument("--dht-lookups", type=_between(2, 1_000_000, int), metavar="N", help="... so many of them")
    parser.add_argument("--dht-seed", type=_between(0, 2**32, int), metavar="N", help="... other nodes")
    parser.add_argument("--peers", action="store_true", help="simulate peers that find each other, instead or as well")
    parser.add_argument(
        "--peers-sizes", nargs="+", type=_between(10, 10_000, int), metavar="N", help="... so many of them"
    )
    parser.add_argument(
        "--peers-liars", nargs="+", type=_between(0, 90), metavar="PERCENT", help="... of which these shares lie (0 20)"
    )
    parser.add_argument(
        "--peers-time", type=_between(65, 100_000, int), metavar="N", help="... for so many virtual minutes (120)"
    )
    parser.add_argument("--peers-seed", type=_between(0, 2**32, int), metavar="N", help="... other ones")
    parser.add_argument("--short", action="store_true", help="one small run: shows that it works, not how fast it is")
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("--picture", metavar="FILE", help="draw the figures there (.png, .svg or .pdf)")
    parser.add_argument("--list", action="store_true", help="show the lines and their goals, measure nothing")


def _say(text: str) -> None:
    print(text, flush=True)


def _list() -> None:
    for line in ALL_LINES.values():
        goals = "; ".join(
            f"{line.better.value} {goal.value:.4g} ({goal.conditions})" for goal in ALL_GOALS if goal.key == line.key
        )
        _say(f"{line.key:21} {line.what:46} {line.unit:5} {goals}".rstrip())


@attrs.frozen
class Files:
    """What is written at the end."""

    json: FileOutput | None
    picture: FileOutput | None


def _opened(stack: ExitStack, option: str, path: str | None) -> FileOutput | None:
    if path is None:
        return None
    try:
        output = FileOutput(path, option)
    except StateError as error:
        raise ConfigurationError(str(error)) from None
    stack.callback(output.abandon)
    return output


def _check(options: argparse.Namespace, plan: Plan, stack: ExitStack) -> Files:
    """Find out at the start what would fail at the end."""
    if options.picture is not None:
        check_picture(options.picture)
    if options.against_tor and plan.keys:
        TorPrograms.find()
    return Files(_opened(stack, "--json", options.json), _opened(stack, "--picture", options.picture))


def _facts(plan: Plan) -> dict[str, Any]:
    facts = {
        "torpydo": __version__,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("twisted", "pynacl")},
        "command": ["torpydo", *sys.argv[1:]],
    }
    # What is about size knows no distance.
    return {**facts, "conditions": str(plan.conditions)} if plan.keys else facts


class Bench:
    """One benchmark.

    :param directory: an empty directory
    """

    def __init__(self, reactor: Any, directory: FilePath[str], plan: Plan) -> None:
        self._reactor = reactor
        self._directory = directory
        self._plan = plan
        self._count = 0
        self._processes = ChildProcesses(reactor, directory)
        self._server_port = free_port(secrets.randbelow)
        self.measuring = Measuring(plan, Tasks(reactor, directory), self._server_port, _say)

    async def start(self) -> None:
        """Start the destination."""
        self._processes.start("destination", "-m", "torpydo.cli.bench.server", str(self._server_port))
        await until_listening(
            self._reactor, self._server_port, "the destination does not listen", self._processes.check
        )

    async def end(self) -> None:
        """End the destination."""
        await self._processes.end()

    @asynccontextmanager
    async def _place(self, name: str) -> AsyncIterator[Place]:
        """A directory and delay lines for one system; the lines are ended with the block."""
        directory = self._directory.child(name)
        directory.makedirs()
        processes = ChildProcesses(self._reactor, directory)
        conditions = self._plan.conditions
        lines = Distance(processes, secrets.randbelow, conditions)
        try:
            yield Place(self._reactor, directory, secrets.randbelow, time.time, conditions, lines, lines.check)
        finally:
            await processes.end()

    async def floor(self, kind: type[Floor]) -> None:
        """Measure what stands beside the networks."""
        if not any(load not in kind.without for group in self._plan.load_groups for load in group):
            return
        async with self._place(kind.name) as place:
            floor = kind(place, self._server_port)
            try:
                await watched(self._reactor, self._measured_floor(floor), place.check)
            finally:
                await floor.stop()

    async def _measured_floor(self, floor: Floor) -> None:
        port = await floor.start()
        await self.measuring.loads(floor.name, port, [f"--own-port={self._server_port}"], without=floor.without)

    async def systems(self, makes: Sequence[Callable[[Place], System]], *, at_once: bool) -> None:
        """Measure networks one after the other.

        :param at_once: start all of them first, which takes less time and disturbs what is measured
        """
        if not at_once and len(makes) > 1:
            for make in makes:
                await self.systems([make], at_once=True)
            return
        async with AsyncExitStack() as stack:
            systems, places = [], []
            for make in makes:
                self._count += 1
                places.append(await stack.enter_async_context(self._place(f"system{self._count}")))
                systems.append(make(places[-1]))
                stack.push_async_callback(systems[-1].stop)

            def check() -> None:
                for place in places:
                    place.check()

            await watched(self._reactor, self._measured_systems(systems), check)

    async def _measured_systems(self, systems: Sequence[System]) -> None:
        _say(f"starting {', '.join(system.name for system in systems)}")
        await together(system.start() for system in systems)
        for system in systems:
            await self.measuring.system(system)

    async def scale(self, plan: ScalePlan) -> None:
        """Measure what is about size."""
        directory = self._directory.child("scale")
        directory.makedirs()
        self.measuring.figures += await Scale(self._reactor, directory, plan, _say).measure()

    async def attacks(self, plan: AttackPlan) -> None:
        """Measure what is left beside attacks."""
        directory = self._directory.child("attacks")
        directory.makedirs()
        self.measuring.figures += await Attacks(self._reactor, directory, plan, _say).measure()

    async def simulated(self, kind: Kind[PlanT], plan: PlanT) -> None:
        """Simulate."""
        directory = self._directory.child(kind.what)
        directory.makedirs()
        self.measuring.figures += await simulate(kind, Tasks(self._reactor, directory), plan, _say)

    async def onions(self, plan: OnionPlan) -> None:
        """Measure an onion service."""
        directory = self._directory.child("onions")
        directory.makedirs()
        self.measuring.figures += await Onions(self._reactor, directory, plan, _say).measure()


async def _measure(bench: Bench, plan: Plan, options: argparse.Namespace) -> None:
    if plan.keys:
        await bench.start()
        if not options.alone:
            await bench.floor(Direct)
            await bench.floor(Pipeline)
        makes: list[Callable[[Place], System]] = [TorpydoSystem]
        if options.against_tor:
            makes.append(TorSystem)
            # One shows that it works; they differ in one line of their configuration.
            if not options.short:
                makes.append(lambda place: TorSystem(place, tuned=True))
        await bench.systems(makes, at_once=options.short)
    if plan.scale is not None:
        await bench.scale(plan.scale)
    if plan.attack is not None:
        await bench.attacks(plan.attack)
    if plan.onion is not None:
        await bench.onions(plan.onion)
    if plan.dht is not None:
        await bench.simulated(LOOKUPS, plan.dht)
    if plan.peers is not None:
        await bench.simulated(PEERS, plan.peers)


def _check_complete(options: argparse.Namespace, plan: Plan, figures: Sequence[Figure]) -> None:
    """Raise if a line that was asked for has no figure of ours."""
    asked = {*plan.keys}
    for more in (plan.scale, plan.attack, plan.onion, plan.dht, plan.peers):
        asked |= set() if more is None else more.keys
    if options.short and options.only is None:
        # Its transfers are over sooner.
        asked.difference_update(LONG_KEYS)
    missing = [key for key in ALL_LINES if key in asked - {one.key for one in figures if one.system == OURS}]
    if missing:
        raise TorpydoError(f"no figure came out for {', '.join(missing)}; measure again with --only and -v")


async def _write(files: Files, options: argparse.Namespace, plan: Plan, measuring: Measuring) -> None:
    facts = _facts(plan)
    if files.json is not None:
        files.json.write(figures_to_json(measuring.figures, {**facts, "seconds": measuring.seconds}).encode())
        await files.json.finish()
        _say(f"every sample is in {options.json}")
    if files.picture is not None:
        title = ", ".join([f"torpydo {__version__}", *([facts["conditions"]] if "conditions" in facts else [])])
        files.picture.write(draw(measuring.figures, options.picture, title))
        await files.picture.finish()
        _say(f"the picture is in {options.picture}")


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Start, measure, show, and end everything."""
    if options.list:
        _list()
        return 0
    plan = plan_of(options)
    with ExitStack() as stack:
        files = _check(options, plan, stack)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="torpydo-bench-"))
        bench = Bench(reactor, FilePath(directory), plan)
        try:
            await _measure(bench, plan, options)
        finally:
            await bench.end()
        measuring = bench.measuring
        figures, judged = measuring.figures, not options.short
        for show in (table, dht_table, peers_table):
            for line in show(figures, judged=judged):
                _say(line)
        if plan.conditions.has_line:
            for line in seconds_lines(measuring.seconds):
                _say(line)
        if measuring.figures:
            # Before the check: what was measured is kept even if something is missing.
            await _write(files, options, plan, measuring)
    _check_complete(options, plan, measuring.figures)
    return 0
