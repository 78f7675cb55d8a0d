"""kill -9 while state is written, two hundred times at random moments, for real (SECURITY X2).

tests/net/test_statefaults kills at every call, but only as far as Python sees them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import ENVIRONMENT

KILLS = 200
# Forks, because to start a Python two hundred times would take minutes. Each child writes the same file again and
# again, every time with another number all over, and counts the writes in a database as a pool counts its listings.
PROGRAM = """
import json, os, random, signal, sys, time
from torpydo.net import StateDirectory
from torpydo.pool.store import Store

path, kills = sys.argv[1] + "/state", int(sys.argv[2])
rng = random.Random(7)

def block(number):
    return b"%015d\\n" % number * 4096

def read(state):
    data = state.read("file")
    number = int(data[:15])
    assert data == block(number), "mixed"
    return number

def write_for_ever(last):
    state = StateDirectory.open(path)
    store = Store.open(state.reserve("pool.db"))
    while True:
        last += 1
        store.reserve_sequence(last)
        state.write("file", block(last))

state = StateDirectory.open(path)
state.write("file", block(0))
state.close()
last, moved = 0, 0
for kill in range(kills):
    pid = os.fork()
    if not pid:
        write_for_ever(last)
    time.sleep(rng.uniform(0.001, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    state = StateDirectory.open(path)
    number = read(state)
    assert number >= last, "gone back"
    store = Store.open(state.reserve("pool.db"))
    assert number <= store.sequence() <= number + 1, "the sequence does not go with the file"
    store.close()
    state.close()
    moved += number > last
    last = number
print(json.dumps({"moved": moved, "last": last, "left": sorted(os.listdir(path))}))
"""


class KilledTests(SynchronousTestCase):
    """A process that has no time to say good-bye."""

    def test_at_two_hundred_moments(self) -> None:
        """Every time the file is whole, it is the last one or the one before, and the database knows which."""
        with tempfile.TemporaryDirectory(prefix="torpydo-killed-") as directory:
            command = [sys.executable, "-c", PROGRAM, directory, str(KILLS)]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100.0, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        # Not all were killed before their first write.
        self.assertGreater(result["moved"], KILLS // 10)
        mine = {".file.new", "file", "lock", "pool.db", "pool.db-shm", "pool.db-wal"}
        self.assertLessEqual(set(result["left"]), mine)
