"""The main program of a worker: ``python -m torpydo.node.workers NUMBER``, started by a supervisor and by nobody else.

It ends when it is told to, with SIGTERM, and when its supervisor is gone; Ctrl-C is the supervisor's to hear.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.reflect import namedAny

from torpydo.net import (
    FileBudget,
    LoopLag,
    LooseResolver,
    QuietObserver,
    harden_process,
    settle_collector,
    use_steady_clock,
)
from torpydo.node.workers.channel import Channel
from torpydo.node.workers.processes import CHANNEL
from torpydo.node.workers.worker import ChannelObserver, Worker

STOP_TIME: Final = 4.5
"""Seconds after which the system ends a process that was to stop, whatever it is busy with."""
MAX_UNREAD: Final = 1024 * 1024
"""Bytes that the supervisor has not read yet, above which log lines are dropped."""


def main(number: str) -> None:
    """Be the worker with that number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _name_process(f"torpydo-node/{number}")
    # After that: a hardened process may not write to its own /proc any more.
    harden_process()
    reactor: Any = namedAny("twisted.internet.reactor")
    use_steady_clock(reactor)
    reactor.installNameResolver(LooseResolver(reactor.callFromThread))
    channel = Channel(
        reactor,
        socket.socket(fileno=CHANNEL),
        lambda data, descriptors: worker.received(data, descriptors),
        lambda: stop(),
    )

    stopped = False

    def stop() -> None:
        # The supervisor's word, a signal and the end of the channel may come together; a reactor complains about that.
        nonlocal stopped
        if not stopped:
            stopped = True
            reactor.stop()

    def start() -> None:
        # In the place of the reactor's own, which is there by now.
        signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(stop))
        channel.start()

    def stopping() -> Deferred[None]:
        signal.setitimer(signal.ITIMER_REAL, STOP_TIME)
        # What was logged to the last is for the operator.
        return worker.stop().addCallback(lambda ignored: channel.flush())

    observer = ChannelObserver(channel.send, lambda: channel.queued > MAX_UNREAD)
    globalLogBeginner.beginLoggingTo([QuietObserver(observer, reactor.seconds)], redirectStandardIO=False)
    worker = Worker(
        reactor,
        send=channel.send,
        stop=stop,
        rng=os.urandom,
        wall_clock=time.time,
        files=FileBudget.of_process(reactor.seconds),
        lag=LoopLag(reactor, time.monotonic),
    )
    reactor.callWhenRunning(start)
    settle_collector(reactor)
    reactor.addSystemEventTrigger("before", "shutdown", stopping)
    reactor.run()


def _name_process(name: str) -> None:
    """What ``ps`` and ``top`` show beside the arguments; only Linux has it."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(name)
    except OSError:
        return


if __name__ == "__main__":
    main(sys.argv[1])
