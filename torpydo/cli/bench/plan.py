"""What one invocation measures: which lines, how much of each, under which conditions. It starts nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import attrs

from torpydo.cli.bench.attack import AttackPlan
from torpydo.cli.bench.attacklines import ATTACK_KEYS
from torpydo.cli.bench.dhtlines import DHT_KEYS
from torpydo.cli.bench.dhtlookups import DHTPlan
from torpydo.cli.bench.goals import KEYS
from torpydo.cli.bench.onion import OnionPlan
from torpydo.cli.bench.onionlines import ONION_KEYS
from torpydo.cli.bench.peerlines import PEER_KEYS
from torpydo.cli.bench.peersfound import PeersPlan
from torpydo.cli.bench.scale import ScalePlan
from torpydo.cli.bench.scalelines import SCALE_KEYS
from torpydo.cli.bench.systems import Conditions
from torpydo.errors import ConfigurationError

__all__ = ["GROUPS", "Plan", "keys_measured", "plan_of"]

GROUPS = {
    ("download",): ("download", "download_3s"),
    ("upload",): ("upload", "upload_3s"),
    ("streams16",): ("streams16",),
    ("rtt",): ("rtt",),
    # Measured in turn, because the queue is the difference.
    ("rtt", "rtt_loaded"): ("rtt", "rtt_loaded", "queue"),
    ("open_stream",): ("open_stream",),
    ("fair20",): ("fair20_echo", "fair20_share"),
}
"""Loads that are run together, and the keys that they give."""

# What needs a transfer that goes on for longer than three seconds, and so long it then goes on.
LONG_KEYS = ("download_3s", "upload_3s")
LONG = 8.0

NEAR_KEYS = tuple(key for key in KEYS if key not in (*LONG_KEYS, "queue"))
FAR_KEYS = ("download", "download_3s", "upload", "upload_3s", "streams16", "rtt", "rtt_loaded", "build")
SLOW_KEYS = ("download", "rtt", "rtt_loaded", "queue")


@attrs.frozen
class Plan:
    """How much is measured."""

    conditions: Conditions
    keys: tuple[str, ...]
    runs: int
    seconds: float
    """Of a bulk transfer."""
    size: int
    """Bytes of a bulk transfer, at the most."""
    trips: int
    """Round trips, in each run."""
    opens: int
    """Streams opened one after the other, in each run."""
    settle: float
    builds: int
    """Circuits built one after the other, in each run."""
    builds_at_once: int
    scale: ScalePlan | None
    """What is measured after the networks, if anything."""
    attack: AttackPlan | None
    """... and after that."""
    onion: OnionPlan | None
    """... and after that."""
    dht: DHTPlan | None
    """... and after that."""
    peers: PeersPlan | None
    """... and at the end."""

    @property
    def load_groups(self) -> list[tuple[str, ...]]:
        """The loads that give the keys, without those that a larger group covers."""
        wanted = set(self.keys)
        groups = [loads for loads, keys in GROUPS.items() if wanted & set(keys)]
        if not wanted & {"rtt_loaded", "queue"}:
            groups = [loads for loads in groups if loads != ("rtt", "rtt_loaded")]
        else:
            groups = [loads for loads in groups if loads != ("rtt",)]
        return groups

    @property
    def load_options(self) -> list[str]:
        """For ``torpydo.cli.bench.loads``."""
        return [
            f"--runs={self.runs}", f"--seconds={self.seconds}", f"--bytes={self.size}", f"--trips={self.trips}",
            f"--opens={self.opens}", f"--settle={self.settle}",
        ]  # fmt: skip


def keys_measured(conditions: Conditions) -> tuple[str, ...]:
    """The lines of the table that make sense under these conditions."""
    if not conditions.has_line:
        return NEAR_KEYS
    return FAR_KEYS if conditions.megabits is None else SLOW_KEYS


def _keys(options: argparse.Namespace, known: Sequence[str], asked: bool) -> list[str]:
    """Those of *known* that are to be measured: the ones that ``--only`` names, or all if that group is asked for."""
    return [key for key in options.only or () if key in known] or (list(known) if asked else [])


def _scale_of(options: argparse.Namespace, conditions: Conditions) -> ScalePlan | None:
    # A short run shows that everything works; what is about size knows no distance.
    simulated = options.dht or options.peers
    all_of_it = options.short and options.only is None and not simulated and not conditions.has_line
    keys = _keys(options, SCALE_KEYS, options.scale or all_of_it)
    if not keys:
        return None
    return ScalePlan.short(keys) if options.short else ScalePlan(frozenset(keys))


def _attack_of(options: argparse.Namespace) -> AttackPlan | None:
    keys = _keys(options, ATTACK_KEYS, options.attack)
    if not keys:
        return None
    return AttackPlan.short(keys) if options.short else AttackPlan(frozenset(keys))


def _onion_of(options: argparse.Namespace) -> OnionPlan | None:
    keys = _keys(options, ONION_KEYS, options.onion)
    if not keys:
        return None
    return OnionPlan.short(keys) if options.short else OnionPlan(frozenset(keys), options.runs)


def _go_along(group: str, names: Sequence[str], options: argparse.Namespace) -> None:
    """See that no option of a simulation is given that is not asked for.

    :raises ConfigurationError: if one is
    """
    if any(getattr(options, name) is not None for name in names):
        *most, last = [f"--{name.replace('_', '-')}" for name in names]
        raise ConfigurationError(f"{', '.join(most)} and {last} go with {group}; add it")


def _dht_of(options: argparse.Namespace) -> DHTPlan | None:
    keys = _keys(options, DHT_KEYS, options.dht)
    if not keys:
        _go_along("--dht", ("dht_nodes", "dht_liars", "dht_lookups", "dht_seed"), options)
        return None
    plan = DHTPlan.short(keys) if options.short else DHTPlan(keys=frozenset(keys))
    return attrs.evolve(
        plan,
        sizes=tuple(options.dht_nodes or plan.sizes),
        percents=plan.percents if options.dht_liars is None else tuple(options.dht_liars),
        lookups=options.dht_lookups or plan.lookups,
        seed=plan.seed if options.dht_seed is None else options.dht_seed,
    )


def _peers_of(options: argparse.Namespace) -> PeersPlan | None:
    keys = _keys(options, PEER_KEYS, options.peers)
    if not keys:
        _go_along("--peers", ("peers_sizes", "peers_liars", "peers_time", "peers_seed"), options)
        return None
    plan = PeersPlan.short(keys) if options.short else PeersPlan(keys=frozenset(keys))
    return attrs.evolve(
        plan,
        sizes=tuple(options.peers_sizes or plan.sizes),
        other_sizes=tuple(options.peers_sizes or plan.other_sizes),
        percents=plan.percents if options.peers_liars is None else tuple(options.peers_liars),
        minutes=options.peers_time or plan.minutes,
        seed=plan.seed if options.peers_seed is None else options.peers_seed,
    )


def plan_of(options: argparse.Namespace) -> Plan:
    """What the options ask for.

    :raises ConfigurationError: if one of them would do nothing
    """
    conditions = Conditions(options.delay / 1000, options.rate)
    keys = keys_measured(conditions) if options.only is None else tuple(key for key in options.only if key in KEYS)
    if (options.dht or options.peers) and options.only is None:
        # They are no part of a network of processes.
        keys = ()
    more = (
        _scale_of(options, conditions), _attack_of(options), _onion_of(options), _dht_of(options), _peers_of(options)
    )  # fmt: skip
    # Asked for by name they have a figure, even in a short run.
    long = options.only is not None and not set(LONG_KEYS).isdisjoint(keys)
    if options.short:
        seconds, size = (LONG, sys.maxsize) if long else (5.0, 2_000_000)
        return Plan(conditions, keys, 1, seconds, size, 3, 3, 0.05, 2, 5, *more)
    if conditions.has_line:
        return Plan(conditions, keys, options.runs, LONG, sys.maxsize, 15, 15, 3.0, 10, 200, *more)
    seconds = LONG if long else 3.0
    return Plan(conditions, keys, options.runs, seconds, sys.maxsize, 200, 50, 0.5, 50, 500, *more)
