"""What an operator does to processes that run: metrics, status, doctor, backup and restore, stops."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Set
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import (
    BIN,
    ENVIRONMENT,
    LOOPBACK,
    Network,
    Process,
    digest,
    free_port,
    missing,
    shared_network,
    wait_for,
)
from tests.integration.test_programs import sha256

STOP_LIMIT = 5.0
"""Seconds that a stop may take (SECURITY Z3)."""


PATIENT = {"node1", "node2"}
"""Nodes that wait for circuits in use when they stop."""


class WatchedNetwork(Network):
    """A network whose processes serve metrics."""

    def __init__(self) -> None:
        super().__init__(nodes=5)
        self.metrics = {name: free_port() for name in ("pool", "node1")}

    def twistd(self, name: str, service: str, *options: str) -> Process:
        if name in self.metrics:
            options = (*options, f"--metrics=tcp:{self.metrics[name]}:interface={LOOPBACK}")
        elif name == "client":
            options = (*options, f"--metrics=unix:{self.directory}/metrics.sock")
        if name in PATIENT:
            options = (*options, "--drain=20")
        return super().twistd(name, service, *options)

    def page(self, name: str, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
        """What a process serves: the status and the body."""
        connection = http.client.HTTPConnection(LOOPBACK, self.metrics.get(name, 0), timeout=20.0)
        if name == "client":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(20.0)
            connection.sock.connect(f"{self.directory}/metrics.sock")
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


class RunningTests(SynchronousTestCase):
    """A network of its own: these tests stop nodes."""

    skip = missing("curl")

    def setUp(self) -> None:
        self.network = WatchedNetwork()
        self.addCleanup(self.network.close)
        self.network.start()

    def test_an_operators_day(self) -> None:
        """One network, because starting it takes longer than everything that is done to it."""
        self.look_at_metrics()
        self.look_at_status()
        self.move_a_node()
        self.stop_nodes_in_use()

    def look_at_metrics(self) -> None:
        """Everybody's figures, and nobody's name (SECURITY I3)."""
        names = ["node1", "nick", LOOPBACK, self.network.pool_url.partition("#")[2][:12], str(self.network.pool_port)]
        for name in ("pool", "node1", "client"):
            status, page = self.network.page(name)
            self.assertEqual(status, 200)
            self.assertRegex(page, rf'(?m)^torpydo_info{{service="{name.rstrip("1")}",version="[^"]+"}} 1\.0$')
            for figure in ("torpydo_loop_lag_seconds", "process_resident_memory_bytes", "process_open_fds",
                           'torpydo_refused_total{cause="[a-z_]+"}'):  # fmt: skip
                self.assertRegex(page, rf"(?m)^{figure} [0-9.e+]+$")
            values = "".join(re.findall(r"(?m)^torpydo_(?!info).*", page))
            self.assertEqual([word for word in names if word in values], [])
            # What people do is told ten minutes later.
            self.assertNotIn("torpydo_circuits", page)
            self.assertEqual(self.network.page(name, "/")[0], 404)
            self.assertEqual(self.network.page(name, method="POST")[0], 405)
        self.assertIn("torpydo_nodes_listed 5.0\n", self.network.page("pool")[1])
        self.assertIn('torpydo_listed{pool="1"} 1.0\n', self.network.page("node1")[1])
        self.assertIn("torpydo_ready 1.0\n", self.network.page("client")[1])
        self.assertEqual(os.stat(f"{self.network.directory}/metrics.sock").st_mode & 0o777, 0o660)

    def look_at_status(self) -> None:
        """``torpydo status`` works for all three kinds, for people and for programs."""
        facts = {
            "node1": {"nickname": "node1", "listed_by": 1, "test_network": True},
            "pool": {"listed": 5, "pending": 0, "test_network": True}, "client": {"ready": True, "nodes": 5},
        }  # fmt: skip
        for name, expected in facts.items():
            said = self.network.ask(name)
            self.assertEqual({fact: said[fact] for fact in expected}, expected)
            self.assertGreater(said["uptime"], 0)
            self.assertGreaterEqual(said["loop_lag"], 0)
            self.assertEqual(os.stat(self.network.state(name) / "status.sock").st_mode & 0o777, 0o600)
        people = self.run_torpydo("status", f"--state-dir={self.network.state('node1')}")
        self.assertRegex(people, r"(?m)^listed by: 1\npools:\n  pool +lists this node +heard .*\n.* yes ")

    def move_a_node(self) -> None:
        """A node that is restored elsewhere has the same identity, and is listed there (SECURITY X4)."""
        old, new, copy = self.network.state("node4"), self.network.state("moved"), self.network.directory / "copy"
        self.run_torpydo("identity", "backup", f"--state-dir={old}", str(copy))
        shown = self.run_torpydo("identity", "show", str(copy)).splitlines()[0]
        said = self.network.torpydo("identity", "restore", str(copy), f"--state-dir={old}").stderr.decode()
        self.assertIn("another process is using it", said)
        self.assertEqual(self.network.processes["node4"].end(), 0)
        said = self.run_torpydo("identity", "restore", str(copy), f"--state-dir={new}")
        self.assertEqual(said.splitlines()[0], shown)
        self.network.node_ports["moved"] = free_port()
        moved = self.network.start_node("moved")
        wait_for(lambda: "lists this node" in moved.output, "the pool lists the node that has moved")
        self.assertIn(f"the {shown} listens on", moved.output)
        doctor = self.network.torpydo(
            "doctor", f"--pool={self.network.pool_url}", f"--state-dir={new}", "--port=80",
            f"--advertise={LOOPBACK}:{self.network.node_ports['moved']}",
        )  # fmt: skip
        self.assertEqual(doctor.returncode, 0, doctor.stdout + doctor.stderr)
        for words in ("listed by all 1 pools, as moved at", "own port: a link to", "one of 3 hops to port 80"):
            self.assertIn(words, doctor.stdout.decode())

    def run_torpydo(self, *words: str) -> str:
        """A command that succeeds."""
        done = self.network.torpydo(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def stop_nodes_in_use(self) -> None:
        """A stop lets a download go on for as long as --drain says, and takes five seconds by default (SECURITY Z3)."""
        curl, node = self.download_through(48, "10M", PATIENT)
        stopped = time.monotonic()
        os.kill(node.pid, signal.SIGTERM)
        self.assertEqual(curl.wait(30.0), 0)
        finished = time.monotonic()
        self.assertEqual(sha256((self.network.directory / "part").read_bytes()), digest(48))
        self.assertEqual(node.wait(30.0), 0, node.output)
        self.assertLess(time.monotonic() - finished, STOP_LIMIT)
        self.assertGreater(finished - stopped, 0.5, "the download was over before the node was stopped")
        # One that is asked twice does not wait for anybody.
        curl, node = self.download_through(512, "2M", PATIENT - {node.name})
        os.kill(node.pid, signal.SIGINT)
        time.sleep(0.5)
        self.assertIsNone(node.status)
        self.assertLess(self.seconds_to_end(node, signal.SIGINT, -signal.SIGINT), 1.0)
        curl.kill()
        curl, node = self.download_through(512, "2M", self.network.processes.keys() - PATIENT)
        self.assertLess(self.seconds_to_end(node, signal.SIGTERM, 0), STOP_LIMIT)

    def seconds_to_end(self, process: Process, number: int, status: int) -> float:
        """Send a signal, and wait for the end that it must lead to."""
        begun = time.monotonic()
        os.kill(process.pid, number)
        self.assertEqual(process.wait(20.0), status, process.output)
        return time.monotonic() - begun

    def size_of(self, path: Path) -> int:
        """Of a file that may not be there yet."""
        return path.stat().st_size if path.exists() else 0

    def download_through(self, size: int, rate: str, names: Set[str]) -> tuple[subprocess.Popen[bytes], Process]:
        """Start a download until its circuit has one of these nodes, and find that node."""
        part = self.network.directory / "part"
        proxy, url = f"{LOOPBACK}:{self.network.socks_port}", self.network.url(size)
        for attempt in range(20):
            part.unlink(missing_ok=True)
            # Another name is another circuit.
            command = ["curl", "-sS", "--limit-rate", rate, "--proxy", f"socks5h://try{attempt}:x@{proxy}", url]
            curl = subprocess.Popen([*command, "-o", "part"], cwd=self.network.directory, env=ENVIRONMENT)
            self.addCleanup(curl.wait)
            self.addCleanup(curl.kill)
            wait_for(lambda one=curl: one.poll() is not None or self.size_of(part) > 100_000, "the download runs")
            if curl.returncode is not None:
                # Half of the few nodes have just ended and are still listed: three builds in a row may fail.
                continue
            paths = [one["path"] for one in self.network.ask("client")["circuits"] if one["streams"]]
            for name in paths[-1]:
                if name in names:
                    return curl, self.network.processes[name]
            curl.kill()
            curl.wait()
        said = self.network.processes["client"].output[-4000:]
        raise AssertionError(f"no circuit goes through {', '.join(names)}:\n{said}")


class CommandTests(SynchronousTestCase):
    """Commands on the network that others use too."""

    def setUp(self) -> None:
        self.network = shared_network()

    def doctor(self, *words: str) -> tuple[int, str]:
        """Exit status and words of the doctor, who is done in time."""
        begun = time.monotonic()
        done = self.network.torpydo("doctor", *words)
        self.assertLess(time.monotonic() - begun, 20.0)
        self.assertNotIn(b"Traceback", done.stderr)
        return done.returncode, (done.stdout + done.stderr).decode()

    def test_doctor(self) -> None:
        """A network that is well."""
        words = (f"--pool={self.network.pool_url}", f"--state-dir={self.network.state('client')}", "--port=80")
        status, said = self.doctor(*words)
        self.assertEqual(status, 0, said)
        for fact in ("5 exits accept it", "runs with this state directory answers", "its listing is valid: 5 nodes"):
            self.assertIn(fact, said)

    def test_doctor_of_a_network_that_is_down(self) -> None:
        """3, and each pool is named with what helps: refused, unknown, and no pool at all."""
        key = self.network.pool_url[-52:]
        pools = (f"http://{LOOPBACK}:{free_port()}/", f"http://nowhere.invalid/#{key}",
                 f"http://{LOOPBACK}:{self.network.web_port}/#{key}")  # fmt: skip
        status, said = self.doctor(*[f"--pool={url}" for url in pools], "--json")
        self.assertEqual(status, 3, said)
        findings = json.loads(said)
        problems = [one for one in findings["findings"] if one["subject"].startswith("pool ")]
        self.assertEqual((findings["status"], len(problems)), (3, 3))
        self.assertEqual([one["verdict"] for one in problems], ["problem"] * 3)

    def test_doctor_of_a_state_directory_that_is_refused(self) -> None:
        """4, with the path and the command that helps, and the directory stays as it was."""
        path = self.network.directory / "readable"
        path.mkdir(mode=0o755)
        self.addCleanup(path.rmdir)
        status, said = self.doctor(f"--state-dir={path}", f"--pool={self.network.pool_url}")
        self.assertEqual(status, 4, said)
        self.assertIn(f"run chmod 700 {path}", said)
        self.assertEqual(path.stat().st_mode & 0o777, 0o755)

    def test_wrong_usage(self) -> None:
        """2, and one line."""
        for words in (["doctor", "--pool=nonsense"], ["node", "--metrics=tcp:9100", f"--pool={self.network.pool_url}"]):
            done = self.network.torpydo(*words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1), done.stderr)

    def test_a_busy_port_for_metrics(self) -> None:
        """3, like any other port that is busy, and no worker is left behind."""
        with socket.socket() as busy:
            busy.bind((LOOPBACK, 0))
            busy.listen()
            where = f"tcp:{busy.getsockname()[1]}:interface={LOOPBACK}"
            done = self.network.program(
                BIN / "torpydo", "pool", f"--listen=tcp:{free_port()}:interface={LOOPBACK}", f"--metrics={where}",
                f"--state-dir={self.network.directory / 'unused'}", timeout=30.0,
            )  # fmt: skip
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(b"for --metrics: ", done.stderr)
