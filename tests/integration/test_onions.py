"""Onion services as people run them: separate processes, and programs that know nothing of torpydo."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import BIN, LOOPBACK, Network, accepts, digest, free_port, missing, wait_for
from tests.integration.test_programs import sha256

REACHABLE = 30.0
"""Seconds from the start of a service to the first connection (its acceptance)."""
NEXT = 15.0
"""Seconds after which the next connection works when a node was killed (the same)."""


class OnionTests(SynchronousTestCase):
    """A network with a web server that is exposed by its other processes."""

    skip = missing("curl")
    network: Network

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.network = Network(nodes=6)
        cls.network.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.network.close()
        super().tearDownClass()

    def fetch(self, name: str, what: str, seconds: float = REACHABLE) -> bytes:
        """What curl gets through another process's SOCKS proxy, as soon as it gets anything."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            done = self.network.curl("-f", "--max-time", str(max(1, int(left))), f"http://{name}/{what}", timeout=60)
            if done.returncode == 0 or left <= 0:
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout
            time.sleep(0.1)

    def service(self, name: str = "service", *options: str) -> str:
        """Start ``twistd torpydo-service`` for the web server; gives its onion name."""
        port = f"--port=80:{LOOPBACK}:{self.network.web_port}"
        process = self.network.twistd(name, "torpydo-service", f"--pool={self.network.pool_url}", port, *options)
        self.addCleanup(process.end)

        def reachable() -> bool:
            try:
                return bool(self.network.ask(name)["reachable"])
            except OSError:
                # The socket is not there yet, or that of its last life.
                return process.status is not None

        wait_for(reachable, "it is reachable")
        return str(self.network.ask(name)["name"])

    def expose(self, port: str) -> str:
        """``torpydo expose``; gives the name that it prints."""
        network = self.network
        pool = f"--pool={network.pool_url}"
        process = network.run(f"expose-{port}", BIN / "torpydo", "expose", port, pool, "--no-qr")
        self.addCleanup(process.end)
        wait_for(lambda: "Ctrl-C" in process.output or process.status is not None, "the service is there")
        name, _, shown = next(line for line in process.output.splitlines() if ".torpydo:" in line).partition(":")
        self.assertEqual(shown, port.partition(":")[0])
        return name

    def test_expose(self) -> None:
        """torpydo expose prints a name, under which curl gets the file; Ctrl-C ends it with status 0."""
        port = f"80:{self.network.web_port}"
        self.assertEqual(sha256(self.fetch(self.expose(port), "8M")), digest(8))
        process = self.network.processes[f"expose-{port}"]
        self.assertEqual(process.end(), 0)
        self.assertNotIn("Traceback", process.output)

    def test_restart(self) -> None:
        """Killed and started again it has the same name, and is found again."""
        name = self.service()
        self.assertEqual(sha256(self.fetch(name, "1M")), digest(1))
        self.network.processes["service"].kill()
        self.assertEqual(self.service(), name)
        self.assertEqual(sha256(self.fetch(name, "1M")), digest(1))

    def test_killed_nodes(self) -> None:
        """Whichever node is killed, introduction points and rendezvous among them, the next connection works."""
        network = self.network
        name = self.service()
        self.fetch(name, "1M")
        points = set(network.ask("service")["introduction_points"])
        self.assertEqual(len(points), 3)
        for node in network.node_ports:
            points.discard(str(network.ask(node)["node_id"])[:8])
            network.processes[node].kill()
            self.assertEqual(sha256(self.fetch(name, "1M", NEXT)), digest(1), node)
            self.start_again(node)
        self.assertEqual(points, set())

    def start_again(self, node: str) -> None:
        """Start a node that was killed, and wait until it listens."""
        self.network.start_node(node)
        wait_for(lambda: accepts(self.network.node_ports[node]), "the node listens")

    def test_invited_clients(self) -> None:
        """Who has the key comes in; for others there is no such service."""
        network = self.network
        key = network.directory / "invited.key"
        text = network.torpydo("identity", "client", str(key)).stdout.decode().strip()
        name = self.service("invited", f"--client={text}")
        refused = network.program("curl", "-sS", "-x", f"http://{LOOPBACK}:{network.http_port}", f"http://{name}/1M")
        self.assertIn(b"No onion service of this name", refused.stdout)
        socks = free_port()
        visitor = network.twistd(
            "visitor", "torpydo-client", f"--pool={network.pool_url}", f"--service-key={name}:{key}",
            f"--socks=tcp:{socks}:interface={LOOPBACK}", "--http=",
        )  # fmt: skip
        self.addCleanup(visitor.end)
        wait_for(lambda: accepts(socks), "the visitor listens")
        done = network.program("curl", "-sSf", "--socks5-hostname", f"{LOOPBACK}:{socks}", f"http://{name}/1M")
        self.assertEqual((done.returncode, sha256(done.stdout)), (0, digest(1)), done.stderr)

    def test_twisted_web(self) -> None:
        """twistd web listens on an endpoint string and is a hidden site."""
        site = self.network.directory / "site"
        site.mkdir()
        (site / "index.html").write_text("hidden")
        pool, key = self.network.pool_url.replace(":", "\\:"), self.network.directory / "web.key"
        process = self.network.run(
            "hidden-web", BIN / "twistd", "-n", "--pidfile=", "web", f"--path={site}",
            f"--listen=torpydo-service:80:keyFile={key}:pool={pool}",
        )  # fmt: skip
        self.addCleanup(process.end)
        wait_for(lambda: ".torpydo" in process.output or process.status is not None, "the site says its name")
        name = next(word for word in process.output.split() if word.endswith(".torpydo"))
        self.assertEqual(self.fetch(name, "index.html"), b"hidden")

    def test_git(self) -> None:
        """A repository is cloned from an onion service, whole."""
        network, directory = self.network, self.network.directory
        if missing("git"):
            raise SkipTest("git is not installed")
        origin, clone = directory / "served" / "origin", directory / "clone"
        origin.mkdir(parents=True)
        (origin / "file").write_bytes(os.urandom(1_000_000))
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        self.run_git("init", "--quiet", str(origin))
        self.run_git("-C", str(origin), "add", "file")
        self.run_git("-C", str(origin), *identity, "commit", "--quiet", "-m", "a file")
        self.run_git("-C", str(origin), "update-server-info")
        port = free_port()
        network.run("files", sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK, "-d", origin.parent)
        wait_for(lambda: accepts(port), "the files are served")
        name = self.expose(f"80:{port}")
        proxy = f"http.proxy=socks5h://{LOOPBACK}:{network.socks_port}"
        self.run_git("-c", proxy, "clone", "--quiet", f"http://{name}/origin/.git", str(clone))
        self.assertEqual((clone / "file").read_bytes(), (origin / "file").read_bytes())

    def run_git(self, *arguments: str) -> None:
        """git, to its end."""
        done = self.network.program("git", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_ssh(self) -> None:
        """ssh logs in at an onion service and gets what it asked for."""
        network, directory = self.network, self.network.directory
        if missing("ssh") or missing("ssh-keygen"):
            raise SkipTest("ssh is not installed")
        for kind in ("user", "host"):
            made = network.program("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", directory / kind)
            self.assertEqual(made.returncode, 0, made.stderr)
        port = free_port()
        server = Path(__file__).with_name("ssh_server.py")
        network.run("ssh-server", sys.executable, server, str(port), directory / "host", directory / "user.pub")
        wait_for(lambda: accepts(port), "the ssh server listens")
        name = self.expose(f"22:{port}")
        pipe = f"{sys.executable} {Path(__file__).with_name('socks_pipe.py')} {network.socks_port} %h %p"
        done = network.program(
            "ssh", "-F", "none", "-i", directory / "user", "-o", f"ProxyCommand={pipe}", "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={directory / 'known'}",
            f"somebody@{name}", "say", "hidden",
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stdout), (0, b"you asked: say hidden\n"), done.stderr)

    def test_dht(self) -> None:
        """torpydo dht: what is put is found; what was never put is not, and says so in one line."""
        network = self.network
        pool, key = f"--pool={network.pool_url}", network.directory / "item.key"
        done = network.torpydo("dht", "put", "a value", f"--key-file={key}", pool)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = network.torpydo("dht", "get", done.stdout.decode().strip(), pool)
        self.assertEqual((found.returncode, found.stdout), (0, b"a value"), found.stderr)
        missing_one = network.torpydo("dht", "get", "0" * 64, pool)
        self.assertEqual((missing_one.returncode, missing_one.stdout), (3, b""))
        self.assertEqual(missing_one.stderr.count(b"\n"), 1)
        self.assertIn(b"nodes that take part: 6", network.torpydo("dht", "stats", pool).stdout)
