"""What bad input and bad luck get: an error that says why, in time, and never something that looks like success."""

from __future__ import annotations

import subprocess
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import ENVIRONMENT, LOOPBACK, Network, digest, missing, shared_network, wait_for
from tests.integration.test_programs import sha256


class LostNodeTests(SynchronousTestCase):
    """A node of the circuit is killed during a download."""

    skip = missing("curl")

    def setUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)
        self.network.start()

    def busy_path(self) -> list[str]:
        """The names of the nodes of the circuit that carries a stream."""
        paths = [circuit["path"] for circuit in self.network.status()["circuits"] if circuit["streams"]]
        return list(paths[0]) if paths else []

    def start_download(self) -> subprocess.Popen[bytes]:
        """A download that takes longer than the test."""
        proxy = ("--socks5-hostname", f"{LOOPBACK}:{self.network.socks_port}")
        # If it were slower, curl would still have seconds of it to read after the end.
        command = ["curl", "-sS", "--limit-rate", "20M", *proxy, "-o", "part", self.network.url(512)]
        curl = subprocess.Popen(command, cwd=self.network.directory, env=ENVIRONMENT, stderr=subprocess.PIPE)
        self.addCleanup(curl.wait)
        self.addCleanup(curl.kill)
        self.addCleanup(lambda: curl.stderr and curl.stderr.close())
        return curl

    def lose(self, place: int) -> None:
        """Kill the node at *place* of a download's path; the download fails at once, and the next works."""
        part = self.network.directory / "part"
        curl = self.start_download()
        wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000, "the download runs")
        name = self.busy_path()[place]
        started = time.monotonic()
        self.network.processes[name].kill()
        status = curl.wait(10.0)
        self.assertLess(time.monotonic() - started, 2.0)
        self.assertNotEqual(status, 0, "half a file must not look like a whole one")
        again = self.network.curl(self.network.url(1), timeout=20.0)
        self.assertEqual((again.returncode, sha256(again.stdout)), (0, digest(1)), again.stderr)
        part.unlink()
        self.network.start_node(name)

    def test_each_place(self) -> None:
        """It does not matter which node it is, and nothing of the lost downloads stays behind."""
        before = self.network.open_sockets()
        survivors = {name: self.network.processes[name] for name in before}
        for place in (1, 2, 0):
            self.lose(place)
        same = {name: before[name] for name, process in survivors.items() if self.network.processes[name] is process}
        self.network.assert_idle_again(same)


class LostPoolTests(SynchronousTestCase):
    """The pool is gone, and the client was killed."""

    skip = missing("curl")

    def setUp(self) -> None:
        self.network = Network(nodes=3)
        self.addCleanup(self.network.close)
        self.network.start()

    def said(self, name: str, text: str) -> int:
        """How often a process has said something."""
        return self.network.processes[name].output.count(text)

    def test_the_client_starts_from_its_listing(self) -> None:
        """What a killed client has left does no harm, the pool's absence is said once, and so is its return."""
        for name in ("pool", "client"):
            self.network.processes[name].kill()
        self.network.start_client()
        got = self.network.curl(self.network.url(1), timeout=20.0)
        self.assertEqual((got.returncode, sha256(got.stdout)), (0, digest(1)), got.stderr)
        for name in ("client", "node1"):
            wait_for(lambda name=name: self.said(name, "refuses connections") > 0, f"the {name} says it")
        self.network.start_pool()
        wait_for(lambda: self.said("client", "answers again") > 0, "the client notices")
        for name in ("client", "node1"):
            self.assertEqual(self.said(name, "refuses connections"), 1, self.network.processes[name].output)


class RefusalTests(SynchronousTestCase):
    """A service that cannot do what it is told ends, and says why."""

    def setUp(self) -> None:
        self.network = shared_network()

    def assert_refused(self, done: subprocess.CompletedProcess[bytes], saying: str, status: int) -> None:
        """One line that says it, and no traceback."""
        text = done.stderr.decode()
        self.assertEqual(done.returncode, status, text + done.stdout.decode())
        self.assertIn(saying, text)
        self.assertTrue(text.startswith("torpydo: "), text)
        self.assertEqual(text.count("\n"), 1, text)

    def test_an_unknown_option_of_twistd(self) -> None:
        """twistd names it, and ends with an error."""
        for service in ("torpydo-pool", "torpydo-node", "torpydo-client"):
            done = self.network.program("twistd", "-n", "--pidfile=", service, "--frobnicate")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"option --frobnicate not recognized", done.stdout + done.stderr)
            self.assertNotIn(b"Traceback", done.stdout + done.stderr)

    def test_an_unknown_option_of_the_command(self) -> None:
        """The torpydo command needs one line for it."""
        self.assert_refused(self.network.torpydo("node", "--frobnicate"), "--frobnicate not recognized", 2)

    def test_a_busy_port(self) -> None:
        """A service that cannot listen is not left running deaf."""
        url, web = self.network.pool_url, f"tcp:{self.network.web_port}:interface={LOOPBACK}"
        state = f"--state-dir={self.network.directory / 'busy'}"
        for service, options in (
            ("torpydo-pool", [f"--listen={web}"]),
            ("torpydo-node", [f"--listen={web}", f"--advertise={LOOPBACK}:{self.network.web_port}", f"--pool={url}"]),
            ("torpydo-client", [f"--socks={web}", f"--pool={url}"]),
        ):
            done = self.network.program("twistd", "-n", "--pidfile=", service, state, *options)
            text = (done.stdout + done.stderr).decode()
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn(str(self.network.web_port), text)
            self.assertIn("in use", text)
            self.assertNotIn("Traceback", text)

    def test_a_wrong_key_in_the_url(self) -> None:
        """A listing that another key has signed is not used."""
        pool, other = self.network.pool_url.partition("#")[::2]
        url = f"{pool}#{'b' if other[0] == 'a' else 'a'}{other[1:]}"
        done = self.network.torpydo("fetch", f"--pool={url}", self.network.url(1))
        text = done.stderr.decode()
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, b"")
        self.assertIn("key", text)
        self.assertNotIn("Traceback", text)

    def test_a_url_without_a_key(self) -> None:
        """Away from loopback nobody may stand in for the pool."""
        done = self.network.torpydo("fetch", "--pool=http://192.0.2.1:8080/", self.network.url(1))
        self.assert_refused(done, "key", 2)

    def test_a_pool_that_is_down(self) -> None:
        """Which pool, and what to look at."""
        down = self.network.pool_url.replace(f":{self.network.pool_port}", ":1")
        done = self.network.torpydo("fetch", f"--pool={down}", self.network.url(1))
        self.assert_refused(done, "127.0.0.1:1", 3)

    def test_more_hops_than_nodes(self) -> None:
        """The numbers are said."""
        done = self.network.torpydo("path", f"--pool={self.network.pool_url}", "--hops=8", "127.0.0.1:80")
        self.assert_refused(done, "8 needed, 5 known", 3)

    def test_no_exit(self) -> None:
        """No node of this network lets connections out to this port, and none to the world."""
        pool = f"--pool={self.network.pool_url}"
        done = self.network.torpydo("fetch", pool, f"http://{LOOPBACK}:25/")
        self.assert_refused(done, "no listed node has an exit policy that accepts port 25", 3)
        done = self.network.torpydo("fetch", pool, "http://192.0.2.1/")
        self.assertEqual(done.returncode, 3)
        self.assertNotIn(b"Traceback", done.stderr)

    def test_a_state_directory_that_others_may_write(self) -> None:
        """Keys are not put where anybody could change them."""
        state = self.network.directory / "open"
        state.mkdir(exist_ok=True)
        state.chmod(0o777)
        done = self.network.torpydo("pool", f"--state-dir={state}", f"--listen=tcp:0:interface={LOOPBACK}")
        self.assert_refused(done, str(state), 4)
