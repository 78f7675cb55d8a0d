"""twistd with its ways out trapped: ``python trapped.py REPORT PORT,PORT… OPTIONS-OF-TWISTD``.

It may connect to these ports of 127.0.0.1. Everything else is refused, and told in REPORT when it ends, with whom it
did connect to: a report without that would come from a trap that sees nothing.
"""

import json
import sys
from pathlib import Path

from twisted.scripts import twistd

from torpydo.testing import LeakGuard


class RecordingGuard(LeakGuard):
    """Writes down what was allowed, too."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: set[int] = set()

    def judge_connection(self, host: str, port: int, how: str = "a TCP connection") -> None:
        super().judge_connection(host, port, how)
        self.reached.add(port)


def main(report: str, ports: str, *options: str) -> None:
    """Be twistd, and report."""
    guard = RecordingGuard()
    for port in ports.split(","):
        guard.allow("127.0.0.1", int(port))
    sys.argv = ["twistd", *options]
    try:
        with guard:
            twistd.run()
    finally:
        found = {"leaks": [str(leak) for leak in guard.leaks], "reached": sorted(guard.reached)}
        Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
