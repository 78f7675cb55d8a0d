"""A real network for tests: twistd processes on free ports of 127.0.0.1, and programs that use it.

Only processes that were started here are ended, each by its own process id.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torpydo.cli.samples import MEBIBYTE, sample_digest
from torpydo.net import DEBUGGABLE

BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
START_TIME = 60.0
STOP_TIME = 10.0
MOST_IDLE_CIRCUITS = 12
"""Of a client that nobody uses: two clean ones, and those that were used in the last minutes."""

# A proxy in the environment of whoever runs the tests is not to be tested, and neither is an exception from one. Tests
# look into the processes: test_hardening is about those that nobody may look into.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name != "TORPYDO_POOLS"
} | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "LC_ALL": "C.UTF-8", DEBUGGABLE: "1"}


def missing(program: str) -> str | None:
    """The reason to skip a test that needs *program*, if it is not installed."""
    return None if shutil.which(program) else f"{program} is not installed"


def free_port() -> int:
    """A port on which nothing listens, outside the range for outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port


def wait_for(true: Callable[[], bool], what: str, seconds: float = START_TIME) -> None:
    """Look until it is true.

    :raises AssertionError: if it is not true in time
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    """Whether something listens on *port*."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


class Process:
    """A program that runs until it is told to end; its output is in a file."""

    def __init__(self, name: str, directory: Path, *command: str | Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=ENVIRONMENT,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float = START_TIME) -> int:
        """Wait for its end, and return its exit status.

        :raises AssertionError: if it does not end in time
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs after {seconds:.0f} s, and says:\n{self.output}") from None

    def kill(self) -> None:
        """End it without a chance to say good-bye."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> int:
        """Ask it to end, and return its exit status. A process that does not end in time is killed."""
        if self.status is None:
            self._process.terminate()
            try:
                return self._process.wait(STOP_TIME)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()


class Network:
    """One pool, some nodes that exit to this machine, one client with both proxies, one web server.

    :ivar directory: where everything is kept; removed by :meth:`close`
    :ivar node_ports: where each node listens
    """

    def __init__(self, nodes: int = 5) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.processes: dict[str, Process] = {}
        self.pool_port, self.socks_port, self.http_port, self.web_port = (free_port() for _ in range(4))
        self.node_ports = {f"node{number}": free_port() for number in range(1, nodes + 1)}

    def start(self) -> None:
        """Start everything, and wait until circuits can be built.

        :raises AssertionError: with all logs, if that does not happen
        """
        try:
            self.start_pool()
            nodes = [self.start_node(name) for name in self.node_ports]
            pool = self.processes["pool"]
            # A client that starts later knows all of them at once.
            wait_for(lambda: pool.output.count(" is listed") >= len(nodes), "the pool lists all nodes")
            self.run("web", sys.executable, "-m", "torpydo.cli.samples", str(self.web_port))
            self.start_client()
            wait_for(lambda: self.status()["nodes"] == len(self.node_ports), "the client knows all nodes")
        except BaseException:
            logs = "\n".join(f"--- {process.name}\n{process.output}" for process in self.processes.values())
            self.close()
            print(logs, file=sys.stderr)
            raise

    def run(self, name: str, *command: str | Path) -> Process:
        """Start a process that ends with the network."""
        process = self.processes[name] = Process(name, self.directory, *command)
        return process

    def twistd(self, name: str, service: str, *options: str) -> Process:
        """Start a service, with its own state directory."""
        state = f"--state-dir={self.state(name)}"
        return self.run(name, BIN / "twistd", "-n", "--pidfile=", service, state, *options)

    def state(self, name: str) -> Path:
        """The state directory of a process."""
        return self.directory / f"{name}-state"

    @property
    def pool_url(self) -> str:
        """As the pool has written it."""
        return (self.state("pool") / "pool.url").read_text().strip()

    def start_pool(self, *options: str) -> None:
        """Start the pool, and wait for its URL."""
        listen = f"--listen=tcp:{self.pool_port}:interface={LOOPBACK}"
        often = ("--requested-delay=1", "--gc-cycle=1")
        pool = self.twistd("pool", "torpydo-pool", listen, "--test-network", *often, *options)
        url = self.state("pool") / "pool.url"
        wait_for(lambda: (url.exists() and accepts(self.pool_port)) or pool.status is not None, "the pool listens")

    def start_node(self, name: str) -> Process:
        """Start a node, or start it again."""
        port = self.node_ports[name]
        return self.twistd(
            name, "torpydo-node", f"--listen=tcp:{port}:interface={LOOPBACK}", f"--advertise={LOOPBACK}:{port}",
            f"--pool={self.pool_url}", f"--nickname={name}", "--exit-policy=reject *:25, accept 127.0.0.0/8:*",
        )  # fmt: skip

    def start_client(self) -> None:
        """Start the client, and wait until it can build circuits."""
        client = self.twistd(
            "client", "torpydo-client", f"--pool={self.pool_url}",
            f"--socks=tcp:{self.socks_port}:interface={LOOPBACK}", f"--http=tcp:{self.http_port}:interface={LOOPBACK}",
        )  # fmt: skip
        wait_for(lambda: accepts(self.socks_port) or client.status is not None, "the client listens")
        wait_for(lambda: bool(self.status()["ready"]) or client.status is not None, "the client is ready")

    def status(self) -> dict[str, Any]:
        """What the client says about itself; {"nodes": 0, "ready": False} while it says nothing."""
        asked = self.torpydo("status", f"--state-dir={self.state('client')}", "--json")
        if asked.returncode != 0:
            return {"nodes": 0, "ready": False, "circuits": []}
        answer: dict[str, Any] = json.loads(asked.stdout)
        return answer

    def open_sockets(self) -> dict[str, int]:
        """How many files and sockets the client and each node that runs have open, without the links of nodes."""
        names = [name for name in ("client", *self.node_ports) if self.processes[name].status is None]
        return {name: descriptors(self.processes[name].pid) - self._links(name) for name in names}

    def _links(self, name: str) -> int:
        """How many a node says that it has."""
        try:
            said = self.ask(name)
            return int(said.get("links", 0)) + int(said.get("dht_links", 0))
        except OSError:
            # It has just been started.
            return 0

    def ask(self, name: str) -> dict[str, Any]:
        """What a process says of itself, without a program that has to be started first."""
        with socket.socket(socket.AF_UNIX) as asking, asking.makefile("rb") as answer:
            asking.connect(f"{self.state(name)}/status.sock")
            asking.sendall(b"status\n")
            said: dict[str, Any] = json.loads(answer.readline())
        return said

    def assert_idle_again(self, before: Mapping[str, int]) -> None:
        """Wait until nothing is left of what went through.

        :param before: what :meth:`open_sockets` was
        :raises AssertionError: if streams or sockets remain; a link of the client to each node may have come and stay,
            and a node may be asking its pool
        """
        more = {"client": len(self.node_ports)}

        def idle() -> bool:
            circuits = self.status()["circuits"]
            return len(circuits) <= MOST_IDLE_CIRCUITS and not any(circuit["streams"] for circuit in circuits)

        def closed() -> bool:
            now = self.open_sockets()
            return all(now[name] <= files + more.get(name, 1) for name, files in before.items() if name in now)

        wait_for(idle, "the client has no streams, and no more circuits than it keeps")
        try:
            wait_for(closed, "the sockets are closed")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.open_sockets()}, and before {dict(before)}") from None

    def torpydo(self, *arguments: str, timeout: float = START_TIME) -> subprocess.CompletedProcess[bytes]:
        """Run the torpydo command."""
        return self.program(BIN / "torpydo", *arguments, timeout=timeout)

    def program(
        self, *command: str | Path, timeout: float = START_TIME, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end."""
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.directory,
            env=ENVIRONMENT | dict(environment or {}),
            timeout=timeout,
            check=False,
        )

    def curl(self, *arguments: str, timeout: float = START_TIME) -> subprocess.CompletedProcess[bytes]:
        """Run curl through the SOCKS proxy."""
        proxy = f"{LOOPBACK}:{self.socks_port}"
        return self.program("curl", "-sS", "--socks5-hostname", proxy, *arguments, timeout=timeout)

    def url(self, mebibytes: int) -> str:
        """A file of the web server."""
        return f"http://{LOOPBACK}:{self.web_port}/{mebibytes}M"

    def close(self) -> None:
        """End all processes and remove all files."""
        for process in reversed(self.processes.values()):
            process.end()
        shutil.rmtree(self.directory)


def digest(mebibytes: int) -> str:
    """What the SHA-256 of such a file of the web server must be."""
    return sample_digest(mebibytes * MEBIBYTE)


@functools.cache
def shared_network() -> Network:
    """A network for tests that leave it as they found it; it ends with the test run."""
    network = Network()
    network.start()
    atexit.register(network.close)
    return network


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def run_together(commands: Sequence[Sequence[str]], directory: Path, timeout: float) -> list[bytes | None]:
    """Run programs at the same time; for each its output, or None if it failed."""
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, cwd=directory, env=ENVIRONMENT)
        for command in commands
    ]
    end = time.monotonic() + timeout
    results: list[bytes | None] = []
    for process in running:
        try:
            out, _ = process.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        results.append(out if process.returncode == 0 else None)
    return results
