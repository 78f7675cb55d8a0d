"""No main program lets its timers go by the time of day (SECURITY section 3, case 20)."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.workers.processes import CHANNEL

PROGRAM = f"""
import socket, sys, time
ours, theirs = socket.socketpair()
assert ours.detach() == {CHANNEL}
from twisted.internet import reactor
from torpydo.cli.running import run_to_end
from torpydo.node.workers.__main__ import main
from torpydo.taps import client, node, pool

async def command(reactor):
    return 0

def look(name):
    print(name, abs(reactor.seconds() - time.time()) > 1e6)
    reactor.seconds = time.time

for tap, options in ((pool, []), (node, ["--pool=http://127.0.0.1:1/"]), (client, ["--pool=http://127.0.0.1:1/"])):
    parsed = tap.Options()
    parsed.parseOptions(["--state-dir=" + sys.argv[1], *options])
    tap.makeService(parsed)
    look(tap.__name__)
reactor.run = lambda: None
main("1")
look("worker")
run_to_end(command, verbose=False)
look("command")
"""


class SteadyClockTests(SynchronousTestCase):
    """All main programs, as far as their reactor's clock."""

    def test_all(self) -> None:
        """None of them leaves it as it is."""
        with tempfile.TemporaryDirectory(prefix="torpydo-test-") as directory:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, directory], capture_output=True, text=True, timeout=60, check=False
            )
        said = [line.split()[::-1] for line in done.stdout.splitlines()]
        programs = ["torpydo.taps.pool", "torpydo.taps.node", "torpydo.taps.client", "worker", "command"]
        self.assertEqual(said, [["True", program] for program in programs], done.stderr)
