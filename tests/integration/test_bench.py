"""``torpydo bench`` on real processes: every line has figures, and nothing is left. How fast it is, nobody asks."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import attrs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.processes import BIN, ENVIRONMENT, wait_for
from torpydo.cli.bench.figures import Figure, figures_from_json
from torpydo.cli.bench.goals import ALL_LINES
from torpydo.cli.bench.plan import keys_measured
from torpydo.cli.bench.scalelines import SCALE_KEYS
from torpydo.cli.bench.systems import Conditions

# Seconds; the processors may be shared with other tests.
LONG = 110.0


@attrs.frozen
class Bench:
    """Runs the command in a directory, in which its temporary files are too."""

    directory: Path

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it."""
        environment = ENVIRONMENT | {"TMPDIR": str(self.directory)}
        return subprocess.Popen(
            [str(BIN / "torpydo"), "bench", *options],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        """Run it to its end: exit status, standard output, standard error."""
        process = self.start(*options)
        try:
            out, err = process.communicate(timeout=LONG)
        except subprocess.TimeoutExpired:
            # It ends what it started; if it is killed at once nobody does.
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            raise
        finally:
            process.kill()
        return process.returncode, out.decode(), err.decode()

    @property
    def figures(self) -> list[Figure]:
        """What ``--json=figures.json`` has written."""
        return figures_from_json((self.directory / "figures.json").read_text())[1]


class BenchTests(SynchronousTestCase):
    """The benchmark."""

    def setUp(self) -> None:
        self.bench = Bench(Path(tempfile.mkdtemp(prefix="torpydo-test-")))
        self.addCleanup(shutil.rmtree, self.bench.directory)

    def assert_nothing_is_left(self) -> None:
        """No process of the benchmark, and none of its files."""
        self.assertEqual(list(self.bench.directory.glob("torpydo-bench-*")), [])
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            self.assertNotIn(str(self.bench.directory).encode(), line)

    def require_tor(self) -> None:
        """Skip the test if tor is not installed."""
        for program in ("tor", "tor-gencert"):
            if which(program) is None:
                raise SkipTest(f"the program {program} is not installed; it is in the package 'tor'")

    def test_every_line_has_figures(self) -> None:
        """A short run measures each line of the table, on our network and beside it, and small sizes."""
        options = ["--short", "--json=figures.json"]
        if find_spec("matplotlib") is not None:
            options.append("--picture=figures.png")
        status, out, err = self.bench.run(*options)
        self.assertEqual(status, 0, err)
        by_system: dict[str, set[str]] = {}
        for figure in self.bench.figures:
            by_system.setdefault(figure.system, set()).add(figure.key)
            self.assertGreaterEqual(figure.minimum, 0.0)
        self.assertEqual(by_system["torpydo"], {*keys_measured(Conditions()), *SCALE_KEYS})
        self.assertLessEqual({"download", "upload", "rtt"}, by_system["pipeline"] & by_system["direct"])
        for key in by_system["torpydo"]:
            self.assertRegex(out, re.escape(ALL_LINES[key].what) + r" +(n = \d+ +)?\S* +\d")
        self.assertEqual((self.bench.directory / "figures.png").exists(), len(options) == 3)
        self.assert_nothing_is_left()

    def test_through_delay_lines(self) -> None:
        """A byte and its echo take at least the way through three lines; the lines have figures of their own."""
        options = ["--short", "--alone", "--delay=20", "--rate=100", "--json=figures.json"]
        status, _, err = self.bench.run(*options, "--only", "download", "rtt", "queue")
        self.assertEqual(status, 0, err)
        figures = {figure.key: figure for figure in self.bench.figures}
        self.assertEqual(set(figures), {"download", "rtt", "queue"})
        self.assertGreater(figures["rtt"].minimum, 6 * 19.0)
        self.assertEqual(figures["rtt"].conditions, "20 ms, 100 Mbit/s")
        self.assert_nothing_is_left()

    def test_against_tor(self) -> None:
        """A network of tor is measured by the same loads, and stands beside ours."""
        self.require_tor()
        options = ["--short", "--alone", "--against-tor", "--delay=20", "--json=figures.json"]
        status, _, err = self.bench.run(*options, "--only", "rtt", "build")
        self.assertEqual(status, 0, err)
        measured = {(figure.system, figure.key) for figure in self.bench.figures}
        systems = ("torpydo", "tor")
        self.assertEqual(measured, {(system, key) for system in systems for key in ("rtt", "build")})
        for figure in self.bench.figures:
            # The lines are before the relays of tor as well.
            self.assertGreater(figure.minimum, 6 * 19.0 if figure.key == "rtt" else 100.0)
        self.assert_nothing_is_left()

    def test_ctrl_c(self) -> None:
        """It ends everything that it started."""
        process = self.bench.start("--alone", "--only", "download")
        wait_for(lambda: any(self.bench.directory.glob("torpydo-bench-*/system1/bench1.log")), "the nodes start")
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONG)
        self.assertEqual((process.returncode, err), (130, b"torpydo: interrupted\n"))
        self.assert_nothing_is_left()

    def test_ctrl_c_while_tor_makes_its_keys(self) -> None:
        """The programs that make them are ended as well."""
        self.require_tor()
        process = self.bench.start("--short", "--alone", "--against-tor", "--only", "rtt")
        wait_for(lambda: any(self.bench.directory.glob("torpydo-bench-*/system2/tor1/auth*/keys")), "the keys are made")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONG)
        self.assertEqual((process.returncode, err), (130, b"torpydo: interrupted\n"))
        self.assert_nothing_is_left()

    def test_sizes_alone(self) -> None:
        """No network is started for the lines that were not asked for."""
        status, out, err = self.bench.run("--short", "--json=figures.json", "--only", "scale_path")
        self.assertEqual(status, 0, err)
        self.assertEqual({figure.key for figure in self.bench.figures}, {"scale_path"})
        self.assertNotIn("starting", out)
        self.assert_nothing_is_left()

    def test_attacks(self) -> None:
        """Each has a network of its own, and something is left beside it."""
        keys = {"attack_snipers_memory", "attack_files_again"}
        status, out, err = self.bench.run("--short", "--alone", "--json=figures.json", "--only", *sorted(keys))
        self.assertEqual(status, 0, err)
        self.assertEqual({figure.key for figure in self.bench.figures}, keys)
        self.assertTrue(all(figure.minimum > 0 for figure in self.bench.figures))
        self.assertIn("attacked:", out)
        self.assert_nothing_is_left()

    def test_an_onion_service(self) -> None:
        """Reached by fresh clients, through the proxy, and again after its process was killed."""
        keys = {"onion_first", "onion_download", "onion_publish"}
        status, out, err = self.bench.run("--short", "--json=figures.json", "--only", *sorted(keys))
        self.assertEqual(status, 0, err)
        self.assertEqual({figure.key for figure in self.bench.figures}, keys)
        self.assertTrue(all(figure.minimum > 0 for figure in self.bench.figures))
        self.assertIn("onion services:", out)
        self.assert_nothing_is_left()


class UsageTests(SynchronousTestCase):
    """What needs no network."""

    def setUp(self) -> None:
        self.bench = Bench(Path(tempfile.mkdtemp(prefix="torpydo-test-")))
        self.addCleanup(shutil.rmtree, self.bench.directory)

    def test_the_lines(self) -> None:
        """``--list`` names every key."""
        status, out, _ = self.bench.run("--list")
        self.assertEqual(status, 0)
        self.assertEqual([line.split()[0] for line in out.splitlines()], list(ALL_LINES))

    def test_an_unknown_line(self) -> None:
        """It is refused before anything starts."""
        status, _, err = self.bench.run("--only", "speed")
        self.assertEqual((status, err.count("\n")), (2, 1))

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is found out at the start, not after all was measured."""
        status, out, err = self.bench.run("--json=missing/figures.json")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("missing/figures.json cannot be written", err)

    def test_a_name_that_no_file_can_have(self) -> None:
        """One line, and nothing is left of what was to become the file."""
        for option in ("--json=.", "--json=", "--picture="):
            status, out, err = self.bench.run(option)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
        self.assertEqual(list(self.bench.directory.iterdir()), [])
