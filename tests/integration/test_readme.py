"""What the documents tell a person to type works.

Every ``console`` block of the README and of docs/ is found, and each of its commands is run here, or named below with
the test that runs it. A document with a command that nobody runs fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import attrs
from twisted.trial.unittest import SynchronousTestCase

import torpydo
from tests.integration.processes import BIN, ENVIRONMENT, STOP_TIME, accepts, free_port, missing, wait_for
from torpydo.cli.bench import command as bench
from torpydo.cli.main import CommandParser

ROOT = Path(torpydo.__file__).parent.parent
README = ROOT / "README.rst"
UMASK = 0o002
"""What most systems give a person: the group may write to what is made, and a state directory is refused below that."""

# Commands of the documents that are run elsewhere: a regular expression, and who runs it.
RUN_ELSEWHERE = {
    r"torpydo bench( --(alone|delay|rate|only|runs|against-tor|json|picture|list|scale|attack|onion|dht|short)\b.*)?":
        "tests/integration/test_bench.py",
    r"torpydo bench --peers\b.*": "tests/cli/bench/test_peers.py",
    r"torpydo (expose|dht|identity client) .*|twistd -n (torpydo-service|web) .*|.* \S*NAME\.torpydo.*":
        "tests/integration/test_onions.py",
    r"python -m torpydo\.cli\.bench\.steps": "tests/cli/bench/test_steps.py",
    r"make fuzz( FUZZ=[a-z-]+ FUZZ_RUNS=[0-9]+)?|python -m torpydo\.testing\.fuzz --(list|help|seeds)":
        "tests/integration/test_fuzz.py",
    r"make (demo|test)": "the .ci/run script runs make test; tests/integration/test_command.py runs torpydo demo",
}


@attrs.frozen
class Command:
    """One command of a document, with its continuation lines."""

    document: str
    text: str


def console_blocks(document: Path) -> Iterator[list[Command]]:
    """The commands of each ``console`` block."""
    name = os.path.relpath(document, ROOT)
    for block in re.findall(r"^\.\. code-block:: console\n\n((?:    .*\n|\n)+)", document.read_text(), re.MULTILINE):
        commands: list[str] = []
        for line in block.splitlines():
            if line.startswith("    $ "):
                commands.append(line[6:])
            elif line.startswith("    > "):
                commands[-1] += "\n" + line[6:]
        yield [Command(name, command) for command in commands]


class ReadingParser(CommandParser):
    """Says what is wrong to whoever wrote the command, who is not at a terminal."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def wrong_options(command: str) -> str | None:
    """What ``torpydo bench`` says of its options in *command*; ``None`` if it takes them."""
    parser = ReadingParser(prog="torpydo bench", allow_abbrev=False)
    bench.arguments(parser)
    try:
        parser.parse_args(shlex.split(command)[2:])
    except ValueError as error:
        return str(error)
    return None


def bench_commands(document: Path) -> list[str]:
    """Every ``torpydo bench`` of a document: in its ``console`` blocks, and in its sentences if options follow."""
    typed = [command.text for block in console_blocks(document) for command in block]
    named = [" ".join(text.split()) for text in re.findall(r"``(torpydo bench\s+[^`]+)``", document.read_text())]
    # A sentence about an option does not give it a value.
    named = [f"{text}=x.png" if text.endswith(" --picture") else text for text in named]
    return [text for text in typed + named if re.match(r"torpydo bench\b", text)]


def documents() -> list[Path]:
    """The README and all pages."""
    return [README, *sorted((ROOT / "docs").rglob("*.rst"))]


class Shell:
    """A person's terminal: a shell in a directory, with free ports in place of the ones that are written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports: dict[str, int] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def _port(self, written: str) -> str:
        if written not in self.ports:
            self.ports[written] = free_port()
        return str(self.ports[written])

    def with_free_ports(self, text: str) -> str:
        """*text*, with every port that is written replaced. ``600$n`` becomes five ports in a ``case``."""
        if "600$n" in text:
            cases = "".join(f"{n}) port={self._port(f'600{n}')};; " for n in "12345")
            text = text.replace("600$n", "$port").replace("do\n", f"do case $n in {cases}esac\n", 1)
        if "torpydo-client" in text:
            for option, port in (("socks", "9050"), ("http", "8118")):
                text += f" --{option}=tcp:{self._port(port)}:interface=127.0.0.1"
        return re.sub(r"\b(8080|9050|8118)\b", lambda match: self._port(match[0]), text)

    def start(self, text: str) -> subprocess.Popen[bytes]:
        """Run it in a terminal of its own, until it is closed."""
        process = subprocess.Popen(
            ["sh", "-c", self.with_free_ports(text)],
            cwd=self.directory,
            env=ENVIRONMENT,
            umask=UMASK,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def run(self, text: str) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        return subprocess.run(
            ["sh", "-c", self.with_free_ports(text)],
            cwd=self.directory, env=ENVIRONMENT, umask=UMASK, capture_output=True, timeout=60.0, check=False,
        )  # fmt: skip

    def close(self) -> None:
        """Ctrl-C in every terminal."""
        for process in reversed(self._running):
            for sent in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, sent)
                except ProcessLookupError:
                    break
                self._wait_for_group(process)
            process.wait()

    def _wait_for_group(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + STOP_TIME
        while time.monotonic() < end:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


class ReadmeTests(SynchronousTestCase):
    """The README."""

    skip = None if README.exists() else "README.rst is only in a checkout"

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="torpydo-readme-"))
        self.addCleanup(shutil.rmtree, directory)
        self.shell = Shell(directory)
        self.addCleanup(self.shell.close)
        self.blocks = [[command.text for command in block] for block in console_blocks(README)]

    def is_up(self, port: str) -> bool:
        """Whether a service of the README listens."""
        return port in self.shell.ports and accepts(self.shell.ports[port])

    def run_all(self, commands: list[str]) -> list[str]:
        """Run commands that end, and return what they print."""
        printed = []
        for command in commands:
            done = self.shell.run(command)
            self.assertEqual(done.returncode, 0, command + "\n" + done.stderr.decode())
            printed.append(done.stdout.decode())
        return printed

    def test_the_three_terminals(self) -> None:
        """A person who types what is written gets what is promised."""
        _, pool, nodes, client, curls, torpydos, expose, _ = self.blocks
        self.run_all(pool[:-1])
        self.shell.start(pool[-1])
        url = self.shell.directory / "net" / "pool" / "pool.url"
        wait_for(lambda: url.exists() and self.is_up("8080"), "the pool is up")
        self.shell.start(nodes[0])
        wait_for(lambda: all(self.is_up(f"600{number}") for number in "12345"), "the nodes are up")
        self.shell.start(client[0])
        wait_for(lambda: self.is_up("9050"), "the client is up")
        ready = "torpydo status --json --state-dir=net/client | grep -q '\"ready\": true'"
        wait_for(lambda: self.shell.run(ready).returncode == 0, "the client is ready")
        if missing("curl") is None:
            for page in self.run_all(curls):
                self.assertIn("node1", page)
        status, doctor, path, _ = self.run_all(torpydos)
        self.assertIn("nodes: 5", status)
        self.assertRegex(doctor, r"(?m)^ok ")
        self.assertNotRegex(doctor, r"(?m)^problem ")
        self.assertEqual(path.count("hop "), 3)
        self.assertIn("node1", (self.shell.directory / "page.html").read_text())
        self.run_example()
        self.expose(expose[0])

    def expose(self, command: str) -> None:
        """The pool's page as an onion service, on the same network."""
        self.shell.start(command + " > name")
        said = self.shell.directory / "name"
        wait_for(lambda: said.exists() and ".torpydo:80" in said.read_text(), "the service has a name")
        if missing("curl") is None:
            name = said.read_text().split(":")[0]
            [page] = self.run_all([f"curl --socks5-hostname 127.0.0.1:9050 http://{name}/"])
            self.assertIn("node1", page)

    def run_example(self) -> None:
        """The Twisted example, on the same network."""
        [example] = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README.read_text(), re.MULTILINE)
        source = "\n".join(line[4:] for line in example.splitlines())
        (self.shell.directory / "example.py").write_text(source)
        command = f"{BIN}/python example.py \"$(cat net/pool/pool.url)\" http://127.0.0.1:8080/"
        [printed] = self.run_all([command])
        self.assertRegex(printed, r"^200 \d+\n$")


class DocumentTests(SynchronousTestCase):
    """All documents."""

    skip = ReadmeTests.skip

    def test_every_command_is_run_by_a_test(self) -> None:
        """A command that nobody runs is wrong sooner or later."""
        run_here = {command.text for block in list(console_blocks(README))[1:] for command in block}
        nobody = [
            command
            for document in documents()
            for block in console_blocks(document)
            for command in block
            if command.text not in run_here and not any(re.fullmatch(known, command.text) for known in RUN_ELSEWHERE)
        ]
        self.assertEqual(nobody, [])

    def test_every_benchmark_has_options_that_exist(self) -> None:
        """The command's own parser takes them."""
        commands = {command for document in documents() for command in bench_commands(document)}
        self.assertGreater(len(commands), 5)
        self.assertEqual({command: said for command in commands if (said := wrong_options(command))}, {})

    def test_an_option_that_does_not_exist_is_found(self) -> None:
        """Whatever stands before it, and in a sentence too."""
        page = Path(self.mktemp()).absolute()
        page.write_text(
            "Type ``torpydo bench --delay=25 --nonsense``.\n\n.. code-block:: console\n\n"
            "    $ torpydo bench --short --nonsense\n    $ torpydo bench --only rtt speed\n"
            "    $ torpydo bench --only rtt\n"
        )
        wrong = [command for command in bench_commands(page) if wrong_options(command)]
        self.assertEqual(wrong, [
            "torpydo bench --short --nonsense", "torpydo bench --only rtt speed", "torpydo bench --delay=25 --nonsense",
        ])  # fmt: skip

    def test_links_to_other_pages_lead_somewhere(self) -> None:
        """Every page that the README or the index names is there."""
        missing_pages = [
            name
            for name in re.findall(r"<(docs/[\w/.-]+)>", README.read_text())
            if not (ROOT / name).exists()
        ]
        tree = re.findall(r"^    ([\w/-]+)$", (ROOT / "docs" / "index.rst").read_text(), re.MULTILINE)
        missing_pages += [name for name in tree if not (ROOT / "docs" / f"{name}.rst").exists()]
        self.assertEqual(missing_pages, [])
