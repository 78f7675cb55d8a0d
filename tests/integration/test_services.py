"""The services as an operator starts and stops them: the lines of the documents, each with all of its options."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import (
    BIN,
    ENVIRONMENT,
    LOOPBACK,
    Process,
    accepts,
    free_port,
    run_together,
    shared_network,
    wait_for,
)
from torpydo.crypto import SigningKey

STOP_LIMIT = 5.0
"""Seconds in which a service ends after Ctrl-C."""
FAMILY = str(SigningKey(bytes(32)).node_id)
"""The id of a node that is not there."""
LINK_LIMIT = 15.0
"""Seconds after which a node has hung up on what is not a link; its own limit is 10."""


class ServiceTestCase(SynchronousTestCase):
    """Has a directory for each test."""

    def setUp(self) -> None:
        self.network = shared_network()
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-services-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, name: str, line: str) -> Process:
        """Type a line into a shell, in a directory of its own."""
        directory = self.directory / name
        directory.mkdir()
        # The shell reads the quotes, and then it is the program.
        process = Process(name, directory, "sh", "-c", f"exec {line}")
        self.addCleanup(process.end)
        return process


class LineTests(ServiceTestCase):
    """twistd with every option, quoted as it is written."""

    def ctrl_c(self, process: Process) -> None:
        """It ends in time, with status 0, without complaint, and leaves nothing in its directory but its state."""
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(10.0), 0, process.output)
        self.assertLess(time.monotonic() - started, STOP_LIMIT)
        self.assertNotIn("Traceback", process.output)
        self.assertNotIn("Unhandled", process.output)
        self.assertEqual(sorted(os.listdir(process.log.parent)), ["DIR", process.log.name])

    def test_all(self) -> None:
        """Pool, nodes, client and onion service start as written, work together, and end at Ctrl-C."""
        port, socks, http = free_port(), free_port(), free_port()
        pool = self.start(
            "pool",
            f"twistd -n torpydo-pool --listen=tcp:{port}:interface=127.0.0.1 --state-dir=DIR"
            " --requested-delay=15 --deprecation-delay=30 --gc-cycle=10 --test-network",
        )
        file = self.directory / "pool" / "DIR" / "pool.url"
        wait_for(lambda: file.exists() and accepts(port), "the pool listens")
        url = file.read_text().strip()
        self.assertRegex(url, rf"^http://127\.0\.0\.1:{port}/#[a-z2-7]{{52}}$")
        nodes = [self.node(number, url) for number in (1, 2, 3)]
        wait_for(lambda: pool.output.count(" is listed") == len(nodes), "the pool lists the nodes")
        client = self.start(
            "client",
            f"twistd -n torpydo-client --pool={url} --pool-threshold=1 --state-dir=DIR"
            f" --socks=tcp:{socks}:interface=127.0.0.1 --http=tcp:{http}:interface=127.0.0.1 --hops=3",
        )
        wait_for(lambda: "the client is ready" in client.output, "the client is ready")
        service = self.start(
            "service",
            f"twistd -n torpydo-service --pool={url} --pool-threshold=1 --state-dir=DIR --port=80:127.0.0.1:{port}"
            " --port=22:unix:/run/none --key-file=DIR/site.key --limit=memory=32M",
        )
        wait_for(lambda: "circuits can be built" in service.output, "the service has circuits")
        for process in (service, client, *nodes, pool):
            self.ctrl_c(process)

    def node(self, number: int, url: str) -> Process:
        """One node."""
        port = free_port()
        return self.start(
            f"node{number}",
            f"twistd -n torpydo-node --listen=tcp:{port}:interface=127.0.0.1 --advertise=127.0.0.1:{port} --pool={url}"
            f' --state-dir=DIR --exit-policy="accept 127.0.0.0/8:*" --nickname=n{number}'
            f" --family={FAMILY} --bandwidth=10M --workers=1",
        )

    def test_ctrl_c_without_a_pool(self) -> None:
        """What still tries to begin ends as quickly."""
        url, port = f"http://127.0.0.1:{free_port()}/", free_port()
        node = self.start(
            "node", f"twistd -n torpydo-node --listen=tcp:{port}:interface=127.0.0.1 --pool={url} --state-dir=DIR"
        )
        client = self.start(
            "client",
            f"twistd -n torpydo-client --pool={url} --state-dir=DIR --http="
            f" --socks=tcp:{free_port()}:interface=127.0.0.1",
        )
        service = self.start("service", f"twistd -n torpydo-service --pool={url} --state-dir=DIR --port=80")
        for process in (node, client, service):
            wait_for(lambda said=process: "refuses connections" in said.output, "it says that the pool is down")
            self.ctrl_c(process)

    def test_in_the_background(self) -> None:
        """Without -n the pool leaves the terminal, and its pid file ends it."""
        port = free_port()
        line = f"twistd torpydo-pool --listen=tcp:{port}:interface=127.0.0.1 --state-dir=DIR --test-network"
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.directory, env=ENVIRONMENT, capture_output=True, timeout=30.0, check=False
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        file = self.directory / "twistd.pid"
        wait_for(lambda: file.exists() and accepts(port), "the pool listens")
        pid = int(file.read_text())
        answer = self.network.program("curl", "-sS", f"http://127.0.0.1:{port}/v1/time")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists() or not accepts(port), "the pool stops", STOP_LIMIT)
        wait_for(lambda: not file.exists(), "the pid file is gone", STOP_LIMIT)
        log = (self.directory / "twistd.log").read_text()
        self.assertIn("the pool is at http://127.0.0.1", log)
        self.assertNotIn("Traceback", log)


class StateTests(ServiceTestCase):
    """State that cannot be used."""

    def assert_refused(self, state: Path, saying: str) -> None:
        """Each service ends with status 4 and a sentence."""
        pool = f"--pool={self.network.pool_url}"
        port = f"tcp:0:interface={LOOPBACK}"
        for service, *options in (
            ("torpydo-pool", f"--listen={port}"),
            ("torpydo-node", f"--listen={port}", f"--advertise={LOOPBACK}:1", pool),
            ("torpydo-client", pool, f"--socks={port}", "--http="),
            ("torpydo-service", pool, "--port=80"),
        ):
            if not self.concerns(service, state):
                continue
            done = self.network.program(
                BIN / "twistd", "-n", "--pidfile=", service, f"--state-dir={state}", *options, timeout=20.0
            )
            text = (done.stdout + done.stderr).decode()
            self.assertEqual(done.returncode, 4, text)
            self.assertIn(saying, text)
            self.assertIn(str(state), text)
            self.assertNotIn("Traceback", text)

    def concerns(self, service: str, state: Path) -> bool:
        """A torn key is a matter of the service whose key it is."""
        keys = [key.name for key in state.glob("*.key")] if state.is_dir() else []
        return not keys or f"{service.removeprefix('torpydo-')}.key" in keys

    def torn(self, key: Path, content: bytes) -> None:
        """Start with such a key file: it is refused, and stays what it is."""
        state = self.directory / key.stem
        state.mkdir(mode=0o700, exist_ok=True)
        copy = state / key.name
        copy.write_bytes(content)
        copy.chmod(0o600)
        self.assert_refused(state, key.name)
        self.assertEqual(copy.read_bytes(), content)

    def test_a_torn_key(self) -> None:
        """A key file that lost its end, or one bit, is never replaced by a new identity."""
        for name, key_name in (("node1", "node.key"), ("pool", "pool.key")):
            key = self.network.state(name) / key_name
            whole = key.read_bytes()
            for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
                self.torn(key, content)
        # All key files look alike.
        self.torn(Path("service.key"), whole[:-1])

    def test_a_directory_that_cannot_be_made(self) -> None:
        """What is above it is a file."""
        (self.directory / "file").write_text("not a directory")
        remedy = "Not a directory; it or something above it is a file"
        self.assert_refused(self.directory / "file" / "state", remedy)


class StrangerTests(ServiceTestCase):
    """What is not TPDP comes to a node's port."""

    def test_no_answer(self) -> None:
        """Not one byte comes back, whatever was sent, and after a time the node hangs up."""
        port = self.network.node_ports["node1"]
        strangers = []
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01" + os.urandom(600), os.urandom(100_000)):
            stranger = socket.create_connection((LOOPBACK, port))
            self.addCleanup(stranger.close)
            stranger.settimeout(LINK_LIMIT)
            stranger.sendall(data)
            strangers.append(stranger)
        for stranger in strangers:
            try:
                self.assertEqual(stranger.recv(1), b"")
            except ConnectionResetError:
                # It has read nothing of what came last, so the system says it this way.
                continue


class OutcomeTests(ServiceTestCase):
    """Why a destination cannot be reached is told to the program that asked for it."""

    def silent_port(self) -> int:
        """A port that answers nothing to a new connection: the queue of its listener is full."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            waiting = socket.socket()
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(address)
        return int(address[1])

    def test_each_is_told_apart(self) -> None:
        """Refused, unresolvable, silent, and allowed by no exit are four answers, by SOCKS and by HTTP."""
        cases = {
            f"http://{LOOPBACK}:{free_port()}/": (b"(5)", b"connect-refused"),
            "http://nowhere.invalid/": (b"(4)", b"resolve-failed"),
            f"http://{LOOPBACK}:{self.silent_port()}/": (b"(6)", b"timeout"),
            f"http://{LOOPBACK}:25/": (b"(2)", b"no-exit"),
            "http://192.0.2.1/": (b"(2)", b"no-exit"),
        }
        socks_port, http_port = free_port(), free_port()
        client = self.start(
            "client",
            f"twistd -n torpydo-client --pool={self.network.pool_url} --state-dir=DIR --limit=stream-answer=3"
            f" --socks=tcp:{socks_port}:interface=127.0.0.1 --http=tcp:{http_port}:interface=127.0.0.1",
        )
        wait_for(lambda: "the client is ready" in client.output, "the client is ready")
        socks = ["--socks5-hostname", f"{LOOPBACK}:{socks_port}"]
        http = ["-x", f"http://{LOOPBACK}:{http_port}"]
        # A failure of curl is an answer like any other.
        commands = [
            ["sh", "-c", 'exec 2>&1; curl -sS -D - -o /dev/null "$@"; true', "sh", *proxy, url]
            for url in cases
            for proxy in (socks, http)
        ]
        answers = run_together(commands, self.directory, 60.0)
        for place, (url, (reply, word)) in enumerate(cases.items()):
            by_socks, by_http = answers[2 * place : 2 * place + 2]
            assert by_socks is not None and by_http is not None, f"{url} got no answer in time"
            self.assertIn(reply, by_socks, url)
            self.assertIn(b": " + word + b"\r\n", by_http, url)
        # However often it happens, the log has ten lines of it in a minute (SECURITY I2).
        refused = next(iter(cases))
        self.network.program("curl", "-sS", *socks, *[refused] * 12)
        line = "SocksProtocol#debug] a stream could not be opened"
        self.assertEqual(client.output.count(line), 10, client.output)
