"""Programs that know nothing of torpydo go through it: curl, wget, git, and a ProxyCommand."""

from __future__ import annotations

import hashlib
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import (
    ENVIRONMENT,
    LOOPBACK,
    Network,
    digest,
    free_port,
    missing,
    run_together,
    shared_network,
    wait_for,
)

LARGE = 64
"""MiB."""
SOCKS_PIPE = Path(__file__).with_name("socks_pipe.py")


def sha256(data: bytes) -> str:
    """As the web server's data is known by."""
    return hashlib.sha256(data).hexdigest()


class ProxiedTestCase(SynchronousTestCase):
    """Has the shared network."""

    def setUp(self) -> None:
        self.network: Network = shared_network()


class CurlTests(ProxiedTestCase):
    """curl."""

    skip = missing("curl")

    def test_through_socks(self) -> None:
        """A large file comes whole through SOCKS5."""
        got = self.network.curl(self.network.url(LARGE))
        self.assertEqual((got.returncode, got.stderr, sha256(got.stdout)), (0, b"", digest(LARGE)))

    def test_through_socks4a(self) -> None:
        """The older version carries names too."""
        proxy = f"socks4a://{LOOPBACK}:{self.network.socks_port}"
        got = self.network.program("curl", "-sS", "-x", proxy, self.network.url(1))
        self.assertEqual((got.returncode, sha256(got.stdout)), (0, digest(1)))

    def test_through_the_http_proxy(self) -> None:
        """A large file comes whole through the HTTP proxy."""
        proxy = f"http://{LOOPBACK}:{self.network.http_port}"
        got = self.network.program("curl", "-sS", "-x", proxy, self.network.url(LARGE))
        self.assertEqual((got.returncode, got.stderr, sha256(got.stdout)), (0, b"", digest(LARGE)))

    def test_through_an_http_tunnel(self) -> None:
        """CONNECT works for what is not HTTP, and so for all of it."""
        proxy = f"http://{LOOPBACK}:{self.network.http_port}"
        got = self.network.program("curl", "-sS", "--proxytunnel", "-x", proxy, self.network.url(1))
        self.assertEqual((got.returncode, sha256(got.stdout)), (0, digest(1)))

    def test_fifty_at_the_same_time(self) -> None:
        """All of them succeed, and afterwards nothing of them is left open."""
        url = f"http://{LOOPBACK}:{self.network.web_port}/200000"
        expected = self.network.curl(url).stdout
        before = self.network.open_sockets()
        proxy = f"{LOOPBACK}:{self.network.socks_port}"
        command = ["curl", "-sS", "--socks5-hostname", proxy, url]
        results = run_together([command] * 50, self.network.directory, 60.0)
        self.assertEqual([result == expected for result in results], [True] * 50)
        self.network.assert_idle_again(before)

    def test_a_destination_that_refuses(self) -> None:
        """curl is told, quickly, and by the reply that means it."""
        got = self.network.curl(f"http://{LOOPBACK}:{free_port()}/", timeout=15.0)
        self.assertEqual(got.returncode, 97)
        self.assertIn(b"(5)", got.stderr)


class WgetTests(ProxiedTestCase):
    """wget."""

    skip = missing("wget")

    def test_through_the_http_proxy(self) -> None:
        """A large file comes whole."""
        environment = {"http_proxy": f"http://{LOOPBACK}:{self.network.http_port}/"}
        got = self.network.program("wget", "-q", "-O", "-", self.network.url(LARGE), environment=environment)
        self.assertEqual((got.returncode, sha256(got.stdout)), (0, digest(LARGE)))


class GitTests(ProxiedTestCase):
    """git."""

    skip = missing("git")

    def setUp(self) -> None:
        super().setUp()
        origin = self.network.directory / "served" / "origin"
        self.commit = ""
        if not origin.exists():
            origin.mkdir(parents=True)
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            self.git("init", "--quiet", str(origin))
            (origin / "file").write_bytes(os.urandom(3_000_000))
            self.git("-C", str(origin), "add", "file")
            self.git("-C", str(origin), *identity, "commit", "--quiet", "-m", "a file")
            self.git("-C", str(origin), "update-server-info")
            self.port = free_port()
            listen = f"--listen=tcp:{self.port}:interface={LOOPBACK}"
            self.network.run("files", sys.executable, "-m", "twisted", "web", listen, "--path", str(origin.parent))
            wait_for(lambda: self.head(f"http://{LOOPBACK}:{self.port}/origin/.git/HEAD"), "the files are served")

    def head(self, url: str) -> bool:
        """Whether there is something at *url*."""
        return self.network.curl("-f", "-o", os.devnull, url).returncode == 0

    def git(self, *arguments: str) -> str:
        """Run git."""
        done = self.network.program("git", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().strip()

    def test_clone(self) -> None:
        """A repository is cloned through SOCKS, whole."""
        proxy = f"http.proxy=socks5h://{LOOPBACK}:{self.network.socks_port}"
        clone = self.network.directory / "clone"
        self.git("-c", proxy, "clone", "--quiet", f"http://{LOOPBACK}:{self.port}/origin/.git", str(clone))
        self.git("-C", str(clone), "fsck", "--full")
        origin = self.network.directory / "served" / "origin"
        self.assertEqual((clone / "file").read_bytes(), (origin / "file").read_bytes())


class LineServer(socketserver.ThreadingTCPServer):
    """Answers each line in capitals; after the last one it says how many there were."""

    daemon_threads = True


class LineConversation(socketserver.StreamRequestHandler):
    """One connection of the line server."""

    def handle(self) -> None:
        """Answer until the other side has said everything."""
        count = 0
        for line in self.rfile:
            count += 1
            self.wfile.write(line.upper())
        self.wfile.write(b"%d lines\n" % count)


class ProxyCommandTests(ProxiedTestCase):
    """A conversation line by line, as ssh has it with its ProxyCommand."""

    def setUp(self) -> None:
        super().setUp()
        server = LineServer((LOOPBACK, 0), LineConversation)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        ports = str(self.network.socks_port), str(server.server_address[1])
        command = [sys.executable, str(SOCKS_PIPE), ports[0], LOOPBACK, ports[1]]
        self.pipe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        self.addCleanup(self.pipe.wait)
        self.addCleanup(self.pipe.kill)

    def test_each_line_is_answered_at_once(self) -> None:
        """Nothing waits for more to come."""
        assert self.pipe.stdin is not None and self.pipe.stdout is not None
        for number in range(20):
            self.pipe.stdin.write(b"line %d\n" % number)
            self.pipe.stdin.flush()
            self.assertEqual(self.pipe.stdout.readline(), b"LINE %d\n" % number)
        self.pipe.communicate()

    def test_the_answer_to_the_end_still_comes(self) -> None:
        """Who has said everything can still listen: half-close goes through the circuit."""
        out, _ = self.pipe.communicate(b"one\ntwo\n", timeout=30.0)
        self.assertEqual(out, b"ONE\nTWO\n2 lines\n")
        self.assertEqual(self.pipe.returncode, 0)
