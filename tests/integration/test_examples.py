"""The programs of docs/examples, on a network of processes; the last test fails for one that is run by none here."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import torpydo
from tests.integration.certificates import write_certificate
from tests.integration.processes import (
    LOOPBACK,
    Network,
    Process,
    accepts,
    free_port,
    missing,
    shared_network,
    wait_for,
)

EXAMPLES = Path(torpydo.__file__).parent.parent / "docs" / "examples"
PAGE = b"<p>a page behind TLS</p>\n"


@functools.cache
def tls_site(network: Network) -> tuple[int, Path]:
    """A web server that speaks TLS, on the shared network: its port, and the certificate that trusts it."""
    directory = network.directory / "tls"
    (directory / "root").mkdir(parents=True)
    (directory / "root" / "index.html").write_bytes(PAGE)
    key, certificate = write_certificate(directory, LOOPBACK)
    port = free_port()
    listen = f"--listen=ssl:{port}:privateKey={key}:certKey={certificate}:interface={LOOPBACK}"
    network.run("tls", sys.executable, "-m", "twisted", "web", listen, "--path", str(directory / "root"))
    wait_for(lambda: accepts(port), "the TLS site listens")
    return port, certificate


class ExampleTests(SynchronousTestCase):
    """Each program."""

    skip = None if EXAMPLES.exists() else "docs/examples is only in a checkout"

    def setUp(self) -> None:
        self.network = shared_network()

    def run_example(self, name: str, *arguments: str, trust: Path | None = None, status: int = 0) -> str:
        """Run it, and return what it prints."""
        environment = {} if trust is None else {"SSL_CERT_FILE": str(trust)}
        done = self.network.program(
            sys.executable, EXAMPLES / name, self.network.pool_url, *arguments, environment=environment
        )
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done.stdout.decode()

    def test_endpoint(self) -> None:
        """A line goes out, and what comes back is printed."""
        printed = self.run_example("endpoint.py", LOOPBACK, str(self.network.pool_port), "GET /v1/time HTTP/1.0\r\n")
        self.assertRegex(printed, r"^HTTP/1\.[01] 200 OK\r?\n")

    def test_errors(self) -> None:
        """Three destinations, three lines."""
        web, refusing = str(self.network.web_port), str(free_port())
        self.assertEqual(self.run_example("errors.py", LOOPBACK, web), "connected\n")
        self.assertRegex(self.run_example("errors.py", LOOPBACK, refusing), "^not connected: .*refuse")
        self.assertRegex(self.run_example("errors.py", LOOPBACK, "25"), "^not connected: .*port 25")

    def test_isolation(self) -> None:
        """Used circuits of three identities, and spare ones."""
        printed = self.run_example("isolation.py", self.network.url(1))
        self.assertRegex(printed, r"(?m)^used  node\d -> node\d -> node\d$")

    def test_string(self) -> None:
        """An endpoint string is enough."""
        printed = self.run_example("endpoint_string.py", LOOPBACK, str(self.network.pool_port))
        self.assertRegex(printed, r"^200 \d+ bytes\n$")

    def test_web(self) -> None:
        """treq fetches two pages."""
        urls = [self.network.url(1), f"http://{LOOPBACK}:{self.network.web_port}/7"]
        printed = self.run_example("web.py", *urls)
        self.assertEqual(printed, f"200 {urls[0]} 1048576 bytes\n200 {urls[1]} 7 bytes\n")

    def test_tls(self) -> None:
        """wrapClientTLS works on top of a stream, and checks who answers."""
        port, certificate = tls_site(self.network)
        printed = self.run_example("tls.py", LOOPBACK, str(port), trust=certificate)
        self.assertRegex(printed, r"^HTTP/1\.[01] 200 OK\n$")

    def test_web_with_tls(self) -> None:
        """treq fetches a page from a TLS site that the caller trusts."""
        port, certificate = tls_site(self.network)
        url = f"https://{LOOPBACK}:{port}/"
        self.assertEqual(self.run_example("web.py", url, trust=certificate), f"200 {url} {len(PAGE)} bytes\n")

    def test_a_stranger_with_tls(self) -> None:
        """A site that the caller does not trust gets nothing, and is no success."""
        port, _ = tls_site(self.network)
        self.assertEqual(self.run_example("web.py", f"https://{LOOPBACK}:{port}/", status=1), "")

    def test_fetch_with_tls(self) -> None:
        """The command checks certificates, too."""
        port, certificate = tls_site(self.network)
        arguments = ["torpydo", "fetch", f"--pool={self.network.pool_url}", f"https://{LOOPBACK}:{port}/"]
        done = self.network.program(*arguments, environment={"SSL_CERT_FILE": str(certificate)})
        self.assertEqual((done.returncode, done.stdout), (0, PAGE), done.stderr)
        done = self.network.program(*arguments)
        self.assertEqual((done.returncode, done.stdout), (3, b""), done.stderr)
        self.assertIn(b"no trusted TLS connection", done.stderr)

    def test_curl_with_tls(self) -> None:
        """A browser's way: CONNECT through the HTTP proxy, TLS inside."""
        if (reason := missing("curl")) is not None:
            raise SkipTest(reason)
        port, certificate = tls_site(self.network)
        proxy = f"http://{LOOPBACK}:{self.network.http_port}"
        arguments = ["curl", "-sS", "-x", proxy, "--cacert", str(certificate), f"https://{LOOPBACK}:{port}/"]
        done = self.network.program(*arguments)
        self.assertEqual((done.returncode, done.stdout), (0, PAGE), done.stderr)

    def test_application_test(self) -> None:
        """The example of an application's own test passes."""
        temporary = f"--temp-directory={self.network.directory / 'trial'}"
        done = self.network.program(
            sys.executable, "-m", "twisted.trial", temporary, EXAMPLES / "test_application.py"
        )
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())

    def test_leak_test(self) -> None:
        """The example of a test for leaks passes."""
        temporary = f"--temp-directory={self.network.directory / 'leaks'}"
        done = self.network.program(sys.executable, "-m", "twisted.trial", temporary, EXAMPLES / "test_leaks.py")
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())

    def test_fault_test(self) -> None:
        """The example of a test with faults passes."""
        temporary = f"--temp-directory={self.network.directory / 'faults'}"
        done = self.network.program(sys.executable, "-m", "twisted.trial", temporary, EXAMPLES / "test_faults.py")
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())

    def test_faults(self) -> None:
        """A server that breaks off, and then one that does not."""
        printed = self.run_example("faults.py", LOOPBACK, str(self.network.pool_port), "GET /v1/time HTTP/1.0")
        self.assertRegex(printed, r"^10 bytes, ConnectionLost \(1 resets\)\n\d+ bytes, ConnectionDone \(1 resets\)\n$")

    def start_peer(self, directory: str, *names: str, life: str = "") -> tuple[Process, str]:
        """One of the programs that find each other, and its onion name."""
        pool = self.network.pool_url
        process = self.network.run(
            f"{directory}{life}", sys.executable, EXAMPLES / "peers.py", pool, f"state-{directory}", *names
        )
        self.addCleanup(process.end)
        wait_for(lambda: "I am" in process.output or process.status is not None, "the program can be found")
        return process, re.findall(r"I am (\S+)", process.output)[0]

    def wait_for_line(self, process: Process, line: str, times: int = 1) -> None:
        """Wait until it was printed so often."""
        wait_for(lambda: process.output.splitlines().count(line) >= times, f"{process.name} prints {line}")

    def test_peers(self) -> None:
        """Three find each other by one name; after a restart none is needed, though the first of all has gone."""
        one, first = self.start_peer("peer1")
        two, second = self.start_peer("peer2", first)
        three, third = self.start_peer("peer3", second)
        for process, others in ((one, (second, third)), (two, (first, third)), (three, (first, second))):
            for other in others:
                self.wait_for_line(process, f"heard hello from {other}")
        one.kill()
        self.assertEqual(three.end(), 0)
        again, name = self.start_peer("peer3", life="-again")
        self.assertEqual(name, third)
        self.wait_for_line(again, f"online {second}")
        self.wait_for_line(two, f"heard hello from {third}", times=2)
        for process in (two, again):
            self.assertEqual(process.end(), 0)
            self.assertNotIn("Traceback", process.output)

    def test_no_example_is_left_out(self) -> None:
        """Every program is named in a test above."""
        here = set(re.findall(r'(?:run_example\(|EXAMPLES / )"(\w+\.py)"', Path(__file__).read_text()))
        self.assertEqual(here, {path.name for path in EXAMPLES.glob("*.py")})
