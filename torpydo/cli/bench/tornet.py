"""A private network of C tor on this machine, to be measured beside ours: 3 authorities, 3 relays and a client.

Nothing outside of this machine is contacted (``torrc``), everything it keeps is in one directory, and every process is
ended by its id. ``python -m torpydo.cli.bench.tornet [--tuned]`` starts one and keeps it until Ctrl-C.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from statistics import median
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from torpydo.cli.bench.systems import Conditions, Place
from torpydo.cli.bench.together import together
from torpydo.cli.bench.torcontrol import Circuits, ControlConnection
from torpydo.cli.bench.torkeys import TorPrograms, make_authority, make_relay
from torpydo.cli.bench.torrc import (
    VOTING_DELAY,
    VOTING_INTERVAL,
    Authority,
    Relay,
    authority_torrc,
    client_torrc,
    relay_torrc,
)
from torpydo.cli.constants import LOOPBACK
from torpydo.cli.processes import ChildProcess, ChildProcesses, free_port, wait_until
from torpydo.cli.running import run_to_end
from torpydo.errors import StateError, TorpydoError

__all__ = ["TorSystem", "until_vote"]

AUTHORITIES = RELAYS = 3
# Seconds.
CONTROL_TIME = 20.0
# Ten for the vote, the rest for a busy machine.
READY_TIME = 30.0
# A relay that comes up too late for the vote spoils a network; a fresh one then succeeds.
TRIES = 3
# A client that comes up at all does so in a few seconds, and some round trips at a distance.
CLIENT_TIME = 12.0
CLIENT_TRIPS = 40
ASK_TIME = 2.0
# Builds before the first that counts: they open the links.
WARM_UP = 10


def until_vote(now: float) -> float:
    """How long to wait, so that a network that is started then has most of the time there is before its first vote.

    :param now: seconds since the epoch
    """
    since = now % VOTING_INTERVAL
    return 0.0 if since < VOTING_DELAY else VOTING_INTERVAL - since


@attrs.define(eq=False)
class TorSystem:
    """A :class:`~torpydo.cli.bench.systems.System`.

    :param tuned: without the 10 ms that tor's default scheduler waits
    :param path: where the programs are looked for, as in the environment
    """

    place: Place
    tuned: bool = False
    path: str | None = None
    socks_port: int = attrs.field(init=False, default=0)
    _processes: ChildProcesses = attrs.field(init=False)
    _connection: ControlConnection | None = attrs.field(init=False, default=None)
    _circuits: Circuits | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._processes = ChildProcesses(self.place.reactor, self.place.directory)

    @property
    def name(self) -> str:
        """As figures name it."""
        return "tor tuned" if self.tuned else "tor"

    async def start(self) -> None:
        """Start everything, and again from nothing if the first network does not come up.

        :raises ConfigurationError: if tor is not installed
        :raises TorpydoError: if no network came up
        """
        programs = TorPrograms.find(self.path)
        for number in range(1, TRIES + 1):
            directory = self.place.directory.child(f"tor{number}")
            directory.makedirs()
            # Nobody else may come to the control socket.
            directory.chmod(0o700)
            self._processes = ChildProcesses(self.place.reactor, directory)
            try:
                await self._start(programs, directory)
                return
            except TorpydoError:
                if number == TRIES:
                    raise
                await self.stop()

    async def stop(self) -> None:
        """End everything."""
        if self._connection is not None:
            self._connection.close()
        self._circuits = self._connection = None
        await self._processes.end()

    def check(self) -> None:
        """Raise if something has ended by itself."""
        self._processes.check()

    async def build_times(self, count: int) -> list[float]:
        """Over the control port: from EXTENDCIRCUIT to the event that says BUILT."""
        circuits, seconds = self._ready(), self.place.reactor.seconds
        await circuits.close(await circuits.build_many(WARM_UP))
        taken: list[float] = []
        built: list[str] = []
        for _ in range(count):
            asked = seconds()
            built.append(await circuits.build())
            taken.append(seconds() - asked)
        # Not one by one: tor leaves Nagle's algorithm on, so the next build would wait 40 ms for the acknowledgement
        # of the cell that closed the last circuit.
        await circuits.close(built)
        return taken

    async def builds_per_second(self, count: int) -> float:
        """Over the control port."""
        circuits, seconds = self._ready(), self.place.reactor.seconds
        await circuits.close(await circuits.build_many(WARM_UP))
        asked = seconds()
        built = await circuits.build_many(count)
        taken: float = seconds() - asked
        await circuits.close(built)
        return count / taken

    def _ready(self) -> Circuits:
        if self._circuits is None:
            raise StateError("the tor network does not run; start it first")
        return self._circuits

    def _ports(self, count: int) -> list[int]:
        ports: list[int] = []
        while len(ports) < count:
            port = free_port(self.place.randbelow)
            if port not in ports:
                ports.append(port)
        return ports

    async def _start(self, programs: TorPrograms, directory: FilePath[str]) -> None:
        place, tuned = self.place, self.tuned
        ports = iter(self._ports(2 * AUTHORITIES + RELAYS + 1))
        resolv_conf = directory.child("resolv.conf")
        resolv_conf.setContent(f"nameserver {LOOPBACK}\n".encode())
        authorities: list[Authority] = await together(
            make_authority(
                place.reactor, programs, directory.child(f"auth{number}"), or_port=next(ports), dir_port=next(ports)
            )
            for number in range(AUTHORITIES)
        )
        relays = [
            Relay(f"relay{number}", port := next(ports), place.lines.before(port)) for number in range(RELAYS)
        ]
        path = await together(make_relay(place.reactor, programs, directory.child(relay.name)) for relay in relays)

        def state(name: str) -> str:
            return directory.child(name).path

        # Not a port: tor's answers are small writes, which TCP would hold back until the one before is acknowledged.
        control = directory.child("control")
        (socks_port,) = ports
        torrcs = {
            one.name: authority_torrc(one, authorities, state(one.name), resolv_conf.path, tuned=tuned)
            for one in authorities
        }
        for relay in relays:
            torrcs[relay.name] = relay_torrc(relay, authorities, state(relay.name), resolv_conf.path, tuned=tuned)
        torrcs["client"] = client_torrc(
            socks_port, control.path, path, authorities, state("client"), tuned=tuned
        )

        def start(name: str) -> ChildProcess:
            torrc = directory.child(f"{name}.torrc")
            torrc.setContent(torrcs[name].encode())
            return self._processes.start_program(
                f"tor {name}", programs.tor, "-f", torrc.path, "--defaults-torrc", state("none")
            )

        await deferLater(place.reactor, until_vote(place.wall_clock()), lambda: None)
        for one in authorities:
            start(one.name)
        # Not before the listing is out: a tor that is still starting would be ended by the signal.
        await self._until_served([start(relay.name) for relay in relays], place.reactor.seconds() + VOTING_INTERVAL)
        # Last: a client that finds no relay at its first try avoids them for minutes.
        start("client")
        self._circuits = await self._until_ready(control, path)
        self.socks_port = socks_port

    async def _until_served(self, relays: Sequence[ChildProcess], listed: float) -> None:
        """Wait until every relay can serve a client.

        :param listed: when the first listing comes out
        """
        asked_again = listed

        async def served() -> bool:
            nonlocal asked_again
            now = self.place.reactor.seconds()
            if now >= asked_again:
                # What they asked for in vain they put off for half a minute; told to reload, they ask at once.
                asked_again = now + ASK_TIME
                for relay in relays:
                    relay.signal("HUP")
            return all(relay.has_said("Bootstrapped 100%") for relay in relays)

        await self._until(served, READY_TIME, "tor's relays do not know each other")

    async def _until_ready(self, socket: FilePath[str], path: Sequence[str]) -> Circuits:
        endpoint = UNIXClientEndpoint(self.place.reactor, socket.path)

        async def connected() -> bool:
            try:
                self._connection = await connectProtocol(endpoint, ControlConnection())
            except ConnectError:
                return False
            await self._connection.ask("AUTHENTICATE")
            return True

        await self._until(connected, CONTROL_TIME, "tor's client does not answer on its control socket")
        connection = self._connection
        assert connection is not None

        asked_again = self.place.reactor.seconds() + ASK_TIME

        async def bootstrapped() -> bool:
            nonlocal asked_again
            if "PROGRESS=100 " in (await connection.ask("GETINFO status/bootstrap-phase")).lines[0]:
                return True
            if self.place.reactor.seconds() >= asked_again:
                # A relay that does not have a description yet makes the client wait, as it makes the relays.
                asked_again = self.place.reactor.seconds() + ASK_TIME
                await connection.ask("SIGNAL RELOAD")
            return False

        timeout = CLIENT_TIME + CLIENT_TRIPS * self.place.conditions.delay
        await self._until(bootstrapped, timeout, "tor's client has built no circuit")
        # It has shown that it works; from now on it builds what it is asked for and nothing ahead.
        await connection.ask("SETCONF __DisablePredictedCircuits=1")
        circuits = Circuits(connection, path)
        await circuits.listen()
        await circuits.close([await circuits.build()])
        return circuits

    async def _until(self, true: Callable[[], Coroutine[Any, Any, bool]], timeout: float, what: str) -> None:
        await wait_until(
            self.place.reactor, lambda: Deferred.fromCoroutine(true()), timeout=timeout, what=what, alive=self.check
        )


@attrs.frozen
class NoLines:
    """Nodes that are here."""

    def before(self, port: int) -> int:
        """The port itself."""
        return port


async def _keep(reactor: Any, directory: FilePath[str], tuned: bool) -> int:
    system = TorSystem(Place(reactor, directory, secrets.randbelow, time.time, Conditions(), NoLines()), tuned)
    try:
        await system.start()
        print(f"SOCKS5 on {LOOPBACK}:{system.socks_port}; Ctrl-C ends the network", flush=True)
        times = await system.build_times(50)
        print(f"a circuit takes {1000 * median(times):.1f} ms; {await system.builds_per_second(300):.0f} in a second")
        await Deferred()
    finally:
        await system.stop()
    return 0


def main(argv: Sequence[str]) -> int:
    """Start a network and keep it."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.tornet", allow_abbrev=False)
    parser.add_argument("--tuned", action="store_true", help="with the scheduler that does not wait")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="torpydo-bench-") as directory:
        place = FilePath(directory)
        return run_to_end(lambda reactor: _keep(reactor, place, options.tuned), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
