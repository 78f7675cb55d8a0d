"""The torpydo command on a network of processes."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import (
    BIN,
    ENVIRONMENT,
    LOOPBACK,
    digest,
    free_port,
    missing,
    shared_network,
    wait_for,
)

HOP = re.compile(r"hop \d  (guard |middle|exit  )  \S+  \w+  127\.0\.0\.1:\d+ +\d+\.\d ms")


def processes_with(text: str) -> list[str]:
    """The command lines on this machine that contain *text*."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            lines.append(line)
    return lines


class FetchTests(SynchronousTestCase):
    """``torpydo fetch``."""

    def setUp(self) -> None:
        self.network = shared_network()
        self.pool = f"--pool={self.network.pool_url}"

    def test_to_standard_output(self) -> None:
        """The data, and nothing else; what is for people goes to standard error."""
        done = self.network.torpydo("fetch", self.pool, self.network.url(8))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), digest(8))
        path, result = done.stderr.decode().splitlines()
        self.assertRegex(path, r"^path: node\d \(\w+\) > node\d \(\w+\) > node\d \(\w+\)$")
        self.assertRegex(result, r"^8\.4 MB in \d+\.\d\d s, \d+\.\d MB/s$")

    def test_to_a_file(self) -> None:
        """The file is whole, and alone."""
        directory = self.network.directory / "fetched"
        directory.mkdir()
        done = self.network.torpydo("fetch", self.pool, self.network.url(8), "-o", str(directory / "file"))
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        self.assertEqual(os.listdir(directory), ["file"])
        self.assertEqual(hashlib.sha256((directory / "file").read_bytes()).hexdigest(), digest(8))

    def test_an_answer_that_is_not_the_file(self) -> None:
        """404 is an error, and no file."""
        target = self.network.directory / "missing"
        url = f"http://{LOOPBACK}:{self.network.web_port}/nothing"
        done = self.network.torpydo("fetch", self.pool, url, "-o", str(target))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"answered 404 Not Found; nothing was written", done.stderr)
        self.assertFalse(target.exists())

    def test_a_slow_reader_gets_everything(self) -> None:
        """A pipe that is read slowly holds the download back, and breaks nothing."""
        command = f"torpydo fetch '{self.pool}' {self.network.url(8)} | (sleep 2; sha256sum)"
        done = self.network.program("sh", "-c", command)
        self.assertTrue(done.stdout.decode().startswith(digest(8)), done.stderr)

    def test_a_reader_that_goes_away(self) -> None:
        """``| head`` ends it without a traceback."""
        command = f"torpydo fetch '{self.pool}' {self.network.url(64)} | head -c 1000 | wc -c"
        done = self.network.program("sh", "-c", command)
        self.assertEqual(done.stdout.strip(), b"1000")
        self.assertNotIn(b"Traceback", done.stderr)

    def test_ctrl_c(self) -> None:
        """Exit status 130, one line, and no part of a file."""
        directory = self.network.directory / "interrupted"
        directory.mkdir()
        command = [BIN / "torpydo", "fetch", self.pool, self.network.url(4096), "-o", "file"]
        fetch = subprocess.Popen(command, cwd=directory, env=ENVIRONMENT, stderr=subprocess.PIPE)
        wait_for(lambda: any(path.stat().st_size for path in directory.iterdir()), "the download runs")
        fetch.send_signal(signal.SIGINT)
        _, err = fetch.communicate(timeout=20.0)
        self.assertEqual(fetch.returncode, 130, err)
        self.assertTrue(err.endswith(b"torpydo: interrupted\n") and b"Traceback" not in err, err)
        self.assertEqual(os.listdir(directory), [])


class ShowTests(SynchronousTestCase):
    """``torpydo path`` and ``torpydo status``."""

    def setUp(self) -> None:
        self.network = shared_network()

    def test_path(self) -> None:
        """Each hop with its name, id, address and time."""
        done = self.network.torpydo("path", f"--pool={self.network.pool_url}", "--hops=4", f"{LOOPBACK}:80")
        self.assertEqual(done.returncode, 0, done.stderr)
        *hops, last = done.stdout.decode().splitlines()
        self.assertEqual(len([line for line in hops if HOP.fullmatch(line)]), 4, hops)
        self.assertRegex(last, r"built in \d+\.\d ms, round trip \d+\.\d ms")

    def test_status(self) -> None:
        """What the running client is doing."""
        done = self.network.torpydo("status", f"--state-dir={self.network.state('client')}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("nodes: 5\n", done.stdout.decode())

    def test_status_of_nobody(self) -> None:
        """No client is running there."""
        done = self.network.torpydo("status", f"--state-dir={self.network.directory / 'nobody'}")
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"nothing answers", done.stderr)


class DemoTests(SynchronousTestCase):
    """``torpydo demo``."""

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start it."""
        demo = subprocess.Popen(
            [BIN / "torpydo", "demo", "--nodes=3", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, text=True,
        )  # fmt: skip
        self.addCleanup(demo.wait)
        self.addCleanup(demo.terminate)
        return demo

    def assert_nothing_left(self, output: str) -> None:
        """No process, and no directory."""
        found = re.search(rf"{tempfile.gettempdir()}/torpydo-demo-\w+", output)
        assert found is not None
        self.assertFalse(Path(found[0]).exists())
        self.assertEqual(processes_with(found[0]), [])

    def test_demo(self) -> None:
        """It shows the path, the times and the hash, and leaves nothing behind."""
        demo = self.start("--size=4")
        out, _ = demo.communicate(timeout=90.0)
        self.assertEqual(demo.returncode, 0, out)
        self.assertEqual(len(re.findall(HOP.pattern, out)), 3, out)
        self.assertRegex(out, r"circuit of 3 hops built in \d+\.\d ms")
        self.assertRegex(out, r"first byte after \d+\.\d ms")
        self.assertRegex(out, r"4194304 bytes in \d+\.\d\d s: \d+\.\d MB/s")
        self.assertIn(f"SHA-256 {digest(4)} verified", out)
        self.assert_nothing_left(out)

    def until(self, demo: subprocess.Popen[str], text: str) -> str:
        """What it says, up to a line with *text*."""
        assert demo.stdout is not None
        out = ""
        while text not in out:
            line = demo.stdout.readline()
            self.assertNotEqual(line, "", out)
            out += line
        return out

    def test_ctrl_c(self) -> None:
        """Exit status 130; processes and directory are gone all the same."""
        demo = self.start("--size=4096")
        out = self.until(demo, "fetching 4096 MiB")
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=30.0)
        self.assertEqual((demo.returncode, rest), (130, "torpydo: interrupted\n"))
        self.assert_nothing_left(out)

    def test_keep(self) -> None:
        """The network stays up for others until Ctrl-C, which is its proper end."""
        socks, http = free_port(), free_port()
        demo = self.start("--size=1", "--keep", f"--socks-port={socks}", f"--http-port={http}")
        out = self.until(demo, "Ctrl-C ends it")
        [line] = re.findall(r"try:  (curl --socks5-hostname .*)", out)
        if missing("curl") is None:
            got = subprocess.run(line, shell=True, env=ENVIRONMENT, capture_output=True, text=True, check=True)
            self.assertEqual(got.stdout.split()[0], digest(64))
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=30.0)
        self.assertEqual((demo.returncode, rest), (0, "everything is stopped and removed\n"))
        self.assert_nothing_left(out)

    def test_a_busy_port_for_keep(self) -> None:
        """It is said before anything is started."""
        network = shared_network()
        demo = self.start("--keep", f"--socks-port={network.web_port}")
        out, _ = demo.communicate(timeout=30.0)
        self.assertEqual(demo.returncode, 3)
        self.assertIn(f"torpydo: 127.0.0.1:{network.web_port} is in use by another program; ", out)
        self.assertEqual(out.count("\n"), 1, out)

    def test_more_hops_than_nodes(self) -> None:
        """It is said before anything is started."""
        demo = self.start("--hops=4")
        out, _ = demo.communicate(timeout=30.0)
        self.assertEqual((demo.returncode, out), (2, "torpydo: 4 hops need as many nodes; give --nodes=4 or more\n"))
