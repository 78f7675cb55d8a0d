"""The systemd units of docs/systemd: what they start is what the programs take, and systemd finds nothing wrong."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import torpydo
from tests.directory.build import key
from tests.integration.processes import BIN, missing
from torpydo.taps import client, node, pool
from torpydo.taps import service as onion_service

UNITS = Path(torpydo.__file__).parent.parent / "docs" / "systemd"
OPERATING = UNITS.parent / "howto" / "operating.rst"
SERVICES: dict[str, type[UsageOptions]] = {
    "node": node.Options, "pool": pool.Options, "client": client.Options, "service": onion_service.Options,
}  # fmt: skip
KEY = key("pool").pool_id
"""In the place of the one that whoever installs a unit has to write there."""
MOST_EXPOSED = 2.5
"""What ``systemd-analyze security`` may give at the most; 10 is no protection at all, and below 3 is called OK."""
MUST_HAVE = {
    "NoNewPrivileges": "true", "ProtectSystem": "strict", "ProtectHome": "true", "PrivateTmp": "true",
    "PrivateDevices": "true", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "UMask": "0077",
    "StateDirectoryMode": "0700", "LimitCORE": "0", "CapabilityBoundingSet": "", "Restart": "on-failure",
}  # fmt: skip


def service(name: str) -> configparser.SectionProxy:
    """The [Service] section of a unit; of a key that stands there twice the last one counts."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNITS / f"torpydo-{name}.service")
    return parser["Service"]


def environment(name: str) -> dict[str, str]:
    """The variables of the file beside a unit."""
    lines = (UNITS / f"{name}.env").read_text().splitlines()
    known = [line.replace("#KEY", f"#{KEY}") for line in lines if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in known)


def command(name: str) -> list[str]:
    """What systemd starts: ``$OPTIONS`` is split at spaces, as it does it."""
    words: Iterator[str] = iter(shlex.split(service(name)["ExecStart"]))
    variables = environment(name)
    return [part for word in words for part in (shlex.split(variables[word[1:]]) if word.startswith("$") else [word])]


class UnitTests(SynchronousTestCase):
    """Each unit by itself."""

    skip = None if UNITS.exists() else "the units are only in a checkout"

    def test_each_service_has_one(self) -> None:
        """With a file for its options."""
        names = {path.name for path in UNITS.iterdir()}
        self.assertEqual(names, {f"torpydo-{name}.service" for name in SERVICES} | {f"{name}.env" for name in SERVICES})

    def test_the_options_are_taken(self) -> None:
        """The command is ours, and the program's own parser takes what follows."""
        for name, options in SERVICES.items():
            program, subcommand, *arguments = command(name)
            self.assertEqual((program, subcommand), ("/opt/torpydo/bin/torpydo", name))
            parsed = options()
            try:
                parsed.parseOptions(arguments)
            except UsageError as error:
                self.fail(f"torpydo-{name}.service: {error}")
            self.assertEqual(parsed["state-dir"], f"/var/lib/{service(name)['StateDirectory']}")
            self.assertTrue(parsed["metrics"])

    def test_an_option_that_does_not_exist_is_found(self) -> None:
        """This is a test of the one above."""
        _, _, *arguments = command("node")
        self.assertRaises(UsageError, node.Options().parseOptions, [*arguments, "--nonsense"])

    def test_what_each_must_have(self) -> None:
        """A user of its own, no privileges, a directory of its own (SECURITY X5)."""
        for name in SERVICES:
            section = service(name)
            self.assertEqual({key: section.get(key) for key in MUST_HAVE}, MUST_HAVE, name)
            # Another one for each: a node that is taken over must not read the key of a pool beside it.
            self.assertEqual((section["User"], section["StateDirectory"]), (f"torpydo-{name}", f"torpydo-{name}"))
            # A state directory that is a symbolic link is refused.
            self.assertNotIn("DynamicUser", section)
            self.assertRegex(section["MemoryMax"], r"^[0-9]+[MG]$")

    def test_a_stop_has_the_time_that_it_takes(self) -> None:
        """Five seconds, and the drain of a node is within them (SECURITY Z3)."""
        for name in SERVICES:
            self.assertGreaterEqual(int(service(name)["TimeoutStopSec"]), 10)

    def test_each_has_a_port_of_its_own_for_metrics(self) -> None:
        """All may run on one machine."""
        ports = [re.findall(r"--metrics=tcp:([0-9]+):interface=127\.0\.0\.1", service(name)["ExecStart"])
                 for name in SERVICES]  # fmt: skip
        self.assertEqual(len({port for [port] in ports}), len(SERVICES))

    def test_a_unix_socket_for_metrics(self) -> None:
        """The one of the page is in a directory that the unit makes, and takes the place of the port."""
        [(words, directory)] = re.findall(r"``(--metrics=unix:/run/([a-z-]+)/[a-z.]+)``", OPERATING.read_text())
        self.assertEqual(service("node")["RuntimeDirectory"], directory)
        for name, options in SERVICES.items():
            self.assertEqual(service(name)["RuntimeDirectory"], f"torpydo-{name}")
            self.assertEqual(service(name)["RuntimeDirectoryMode"], "0750")
            parsed = options()
            parsed.parseOptions([*command(name)[2:], words])
            self.assertEqual(f"--metrics={parsed['metrics']}", words)

    def test_the_users_of_the_page(self) -> None:
        """Each command is one of the user to whom the directory belongs, and names no file where she may not write."""
        text = OPERATING.read_text().replace("\\\n", " ")
        commands = re.findall(r"sudo -u (\S+) (.+)", text)
        self.assertGreater(len(commands), 3)
        for user, words in commands:
            self.assertIn(user, {service(name)["User"] for name in SERVICES})
            paths = [word for word in re.split("[ =]+", words) if "/var/" in word or word.endswith(".backup")]
            self.assertNotEqual(paths, [])
            for path in paths:
                self.assertEqual(Path(path).parts[:4], ("/", "var", "lib", user), words)
        self.assertIn(f"install -d -m 700 -o {user} -g {user} /var/lib/{user}\n", text)
        self.assertRegex(text, r"useradd .* torpydo-node\n")


class AnalyzeTests(SynchronousTestCase):
    """What systemd says."""

    skip = UnitTests.skip or missing("systemd-analyze")

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-units-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.files = []
        for name in SERVICES:
            # A program and a user that are here, whatever this machine has.
            text = (UNITS / f"torpydo-{name}.service").read_text()
            text = text.replace("/opt/torpydo/bin/", f"{BIN}/")
            text = re.sub("(?m)^User=.*", "User=daemon", text)
            self.files.append(self.directory / f"torpydo-{name}.service")
            self.files[-1].write_text(text)

    def analyze(self, *words: str) -> str:
        """What it prints; it must succeed."""
        files = [str(path) for path in self.files]
        done = subprocess.run(
            ["systemd-analyze", *words, *files], capture_output=True, text=True, timeout=60.0, check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_verify(self) -> None:
        """No word that it does not know, no value that it ignores."""
        said = self.analyze("verify", "--man=no")
        self.assertEqual([line for line in said.splitlines() if "torpydo-" in line], [])

    def test_security(self) -> None:
        """Little is exposed."""
        said = self.analyze("security", "--offline=true", "--no-pager")
        levels = [float(level) for level in re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)]
        self.assertEqual(len(levels), len(SERVICES), said[-500:])
        self.assertLess(max(levels), MOST_EXPOSED)
