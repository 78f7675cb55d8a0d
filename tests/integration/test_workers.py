"""A node with two workers, as processes: who carries what, and who may end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import BIN, ENVIRONMENT, LOOPBACK, Network, Process, accepts, free_port, wait_for
from torpydo.cli.samples import MEBIBYTE, sample_digest

STOP_LIMIT = 5.0
"""Seconds in which everything ends that is to end."""
ESTABLISHED = "01"


def is_worker(pid: int) -> bool:
    """Whether that process is one."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"torpydo.node.workers" in arguments


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections(pid: int, port: int) -> set[int]:
    """The other ends' ports of the connections to *port* that a process has."""
    sockets = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            sockets.add(os.readlink(entry.path))
        except FileNotFoundError:
            continue
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_, inode = line.split()[:10]
        if state == ESTABLISHED and int(local.split(":")[1], 16) == port and f"socket:[{inode}]" in sockets:
            found.add(int(remote.split(":")[1], 16))
    return found


class Echo(threading.Thread):
    """A server that returns what it gets."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """One connection."""
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        """No more of them."""
        # close() alone leaves a thread that waits in accept() where it is.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Stream:
    """A connection through a SOCKS proxy."""

    def __init__(self, proxy: int, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, proxy), timeout=20.0)
        self.socket.sendall(b"\x05\x01\x00")
        assert self.receive(2) == b"\x05\x00"
        self.socket.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(LOOPBACK) + struct.pack(">H", port))
        reply = self.receive(10)
        if reply[1]:
            raise ConnectionRefusedError(f"the proxy says {reply[1]}")

    def receive(self, count: int) -> bytes:
        """Exactly *count* bytes."""
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError("the stream has ended")
            data += part
        return data

    def echo(self) -> None:
        """Send something, and get it back."""
        data = secrets.token_bytes(100_000)
        self.socket.sendall(data)
        assert self.receive(len(data)) == data

    def is_torn(self) -> bool:
        """Whether it is over."""
        try:
            self.echo()
        except OSError:
            return True
        return False


class WorkersNetwork(Network):
    """A pool, one node that has two workers, and clients whose circuits have no other hop."""

    def __init__(self) -> None:
        super().__init__(nodes=1)
        self.port = self.node_ports["node1"]
        self.echo = Echo()

    def start(self) -> None:
        """Start it, and wait until clients can use it."""
        self.echo.start()
        self.start_pool()
        self.start_node("node1")
        self.wait_for_log("pool", " is listed")

    def wait_for_log(self, name: str, words: str, count: int = 1) -> None:
        """Wait until a process has said something."""
        process = self.processes[name]
        wait_for(lambda: process.output.count(words) >= count or process.status is not None, f"{name}: {words}")
        assert process.status is None, process.output

    def start_node(self, name: str) -> Process:
        """Start the node, or start it again."""
        return self.twistd(name, "torpydo-node", *self.node_options())

    def node_options(self) -> tuple[str, ...]:
        """What it was started with."""
        listen = f"--listen=tcp:{self.port}:interface={LOOPBACK}"
        return listen, f"--pool={self.pool_url}", "--exit-policy=accept 127.0.0.0/8:*", "--workers=2"

    def client(self, name: str) -> int:
        """Start a client of one hop, and return the port of its proxy."""
        port = free_port()
        socks = f"--socks=tcp:{port}:interface={LOOPBACK}"
        self.twistd(name, "torpydo-client", f"--pool={self.pool_url}", socks, "--http=", "--hops=1")
        self.wait_for_log(name, "the client is ready")
        return port

    def workers(self) -> list[int]:
        """The workers of the node, as process ids."""
        return [pid for pid in children(self.processes["node1"].pid) if is_worker(pid)]

    def loads(self) -> dict[int, set[int]]:
        """The connections of each worker."""
        return {pid: connections(pid, self.port) for pid in self.workers()}

    def close(self) -> None:
        """End all processes and remove all files."""
        self.echo.close()
        super().close()


class WorkersTestCase(SynchronousTestCase):
    """Has a network of its own: its processes are killed."""

    def setUp(self) -> None:
        self.network = WorkersNetwork()
        self.addCleanup(self.network.close)
        self.network.start()
        self.node = self.network.processes["node1"]
        wait_for(lambda: len(self.network.workers()) == 2, "both workers run")

    def stream(self, proxy: int) -> Stream:
        """A stream to the echo server."""
        stream = Stream(proxy, self.network.echo.port)
        self.addCleanup(stream.socket.close)
        return stream

    def assert_gone(self, pids: list[int]) -> None:
        """These end in time."""
        wait_for(lambda: not any(map(is_worker, pids)), "the workers have ended", STOP_LIMIT)


class TransferTests(WorkersTestCase):
    """What goes through the node."""

    def test_one_worker_ends(self) -> None:
        """Two clients are on two workers; when one worker is killed, the other's circuits go on, and it comes back."""
        before = set(self.network.workers())
        proxies = [self.network.client("client1")]
        first = self.stream(proxies[0])
        (kept,) = [pid for pid, load in self.network.loads().items() if load]
        proxies.append(self.network.client("client2"))
        second = self.stream(proxies[1])
        (killed,) = before - {kept}
        self.assertTrue(self.network.loads()[killed])
        for stream in (first, second):
            stream.echo()
        os.kill(killed, signal.SIGKILL)
        first.echo()
        self.assertTrue(second.is_torn())
        self.network.wait_for_log("node1", " is back")
        self.assertEqual(len(self.network.workers()), 2)
        self.assertIn(kept, self.network.workers())
        self.assertEqual(self.node.output.count("is started again in 1 s: ended by SIGKILL"), 1)
        first.echo()
        # It has fewer connections than the other, which has those of both clients by now or will have.
        self.stream(self.network.client("client3")).echo()
        wait_for(lambda: all(self.network.loads().values()), "both workers have connections again", 10.0)
        self.assertNotIn("Traceback", self.node.output)

    def test_whole_file(self) -> None:
        """Files arrive as they were sent, through both workers at the same time."""
        web = free_port()
        self.network.run("web", BIN / "python", "-m", "torpydo.cli.samples", str(web))
        wait_for(lambda: accepts(web), "the web server listens")
        proxies = [self.network.client(name) for name in ("client1", "client2")]
        command = ["sh", "-c", 'exec curl -sS --socks5-hostname "$1" "$2" | sha256sum', "sh"]
        running = [
            subprocess.Popen(
                [*command, f"{LOOPBACK}:{proxy}", f"http://{LOOPBACK}:{web}/8M"],
                stdout=subprocess.PIPE,
                env=ENVIRONMENT,
            )
            for proxy in proxies
        ]
        for process in running:
            out, _ = process.communicate(timeout=60.0)
            self.assertEqual(out.split()[0].decode(), sample_digest(8 * MEBIBYTE))
        self.assertEqual([bool(load) for load in self.network.loads().values()], [True, True])

    def test_even(self) -> None:
        """Connections are split evenly, whether they are good for anything or not."""
        strangers: list[Any] = []
        for _ in range(16):
            strangers.append(socket.create_connection((LOOPBACK, self.network.port)))
            self.addCleanup(strangers[-1].close)
        wait_for(lambda: sum(map(len, self.network.loads().values())) >= 16, "all are taken", 10.0)
        self.assertEqual([len(load) for load in self.network.loads().values()], [8, 8])


class EndTests(WorkersTestCase):
    """How it all ends."""

    def test_ctrl_c(self) -> None:
        """Ctrl-C reaches all processes at once: they end in time, without a complaint."""
        stream = self.stream(self.network.client("client"))
        stream.echo()
        workers, started = self.network.workers(), time.monotonic()
        for pid in (*workers, self.node.pid):
            os.kill(pid, signal.SIGINT)
        self.assertEqual(self.node.wait(10.0), 0, self.node.output)
        self.assertLess(time.monotonic() - started, STOP_LIMIT)
        self.assertEqual([pid for pid in workers if is_worker(pid)], [])
        self.assertNotIn("Traceback", self.node.output)
        self.assertNotIn("started again", self.node.output)
        self.assertTrue(stream.is_torn())

    def test_ctrl_c_at_once(self) -> None:
        """Also while the workers are still starting."""
        self.node.end()
        node = self.network.start_node("node1")
        wait_for(lambda: len(children(node.pid)) == 2, "the workers are being started")
        workers = children(node.pid)
        for pid in (*workers, node.pid):
            os.kill(pid, signal.SIGINT)
        self.assertEqual(node.wait(10.0), 0, node.output)
        self.assert_gone(workers)
        self.assertNotIn("Traceback", node.output)

    def test_one_is_ended(self) -> None:
        """A worker that is asked to end closes its links properly, and is started again."""
        stream = self.stream(self.network.client("client"))
        (busy,) = [pid for pid, load in self.network.loads().items() if load]
        os.kill(busy, signal.SIGTERM)
        self.assertTrue(stream.is_torn())
        self.network.wait_for_log("node1", " is back")
        self.assertIn("is started again in 1 s: exit status 0", self.node.output)
        self.assertNotIn("Traceback", self.node.output)

    def test_supervisor_dies(self) -> None:
        """Workers do not outlive the process that started them."""
        workers = self.network.workers()
        self.node.kill()
        self.assert_gone(workers)

    def test_in_the_background(self) -> None:
        """Without -n it leaves the terminal, works, writes one log, and ends by its pid file."""
        self.node.end()
        command = [str(BIN / "twistd"), "torpydo-node", f"--state-dir={self.network.state('node1')}"]
        done = subprocess.run(
            [*command, *self.network.node_options()],
            cwd=self.network.directory,
            env=ENVIRONMENT,
            capture_output=True,
            timeout=30.0,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        file = self.network.directory / "twistd.pid"
        wait_for(lambda: file.exists() and accepts(self.network.port), "the node listens")
        pid = int(file.read_text())
        self.addCleanup(self.end, pid)
        wait_for(lambda: len(children(pid)) == 2, "both workers run")
        workers = children(pid)
        self.stream(self.network.client("client")).echo()
        os.kill(workers[0], signal.SIGKILL)
        log = self.network.directory / "twistd.log"
        wait_for(lambda: "worker 1 has ended" in log.read_text(), "the log says it", STOP_LIMIT)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not file.exists(), "the node has ended", STOP_LIMIT)
        self.assert_gone(workers)
        self.assertNotIn("Traceback", log.read_text())

    def end(self, pid: int) -> None:
        """Whatever happened, the node in the background does not stay."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
