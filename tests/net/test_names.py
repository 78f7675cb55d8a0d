"""Tests of torpydo.net.names."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import LooseResolver


class Receiver:
    """Hears of addresses."""

    def __init__(self) -> None:
        self.done: Deferred[list[tuple[str, int]]] = Deferred()
        self.found: list[tuple[str, int]] = []

    def resolutionBegan(self, resolution: Any) -> None:
        """It has begun."""
        self.resolution = resolution

    def addressResolved(self, address: Any) -> None:
        """One more."""
        self.found.append((address.host, address.port))

    def resolutionComplete(self) -> None:
        """That was all."""
        self.done.callback(self.found)


class ResolverTests(SynchronousTestCase):
    """Names, in threads that nobody waits for."""

    def setUp(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def call_from_thread(self, *call: Any) -> None:
        """Like the reactor's."""
        self.threads.append(threading.current_thread())
        self.calls.append(call)
        self.called.release()

    def resolve(self, answer: list[Any] | Exception) -> Receiver:
        """Ask a resolver that answers this, and wait until it has."""

        def getaddrinfo(host: str, port: int, *, type: int) -> list[Any]:
            if isinstance(answer, Exception):
                raise answer
            return answer

        receiver = Receiver()
        LooseResolver(self.call_from_thread, getaddrinfo).resolveHostName(receiver, "pool.example.org", 80)
        self.assertTrue(self.called.acquire(timeout=10))
        return receiver

    def deliver(self) -> None:
        """What the reactor does with it."""
        for function, *arguments in self.calls:
            function(*arguments)

    def test_addresses(self) -> None:
        """Both kinds, with the port; anything else is left out."""
        receiver = self.resolve([
            (socket.AF_INET, 1, 6, "", ("192.0.2.1", 80)), (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 80, 0, 0)),
            (socket.AF_UNIX, 1, 6, "", "x"),
        ])  # fmt: skip
        self.assertNoResult(receiver.done)
        self.deliver()
        self.assertEqual(self.successResultOf(receiver.done), [("192.0.2.1", 80), ("2001:db8::1", 80)])

    def test_no_address(self) -> None:
        """The receiver hears that there is none."""
        receiver = self.resolve(socket.gaierror("no such name"))
        self.deliver()
        self.assertEqual(self.successResultOf(receiver.done), [])

    def test_nobody_waits(self) -> None:
        """The thread does not keep the program from ending, and an answer that comes too late is dropped."""
        receiver = self.resolve([(socket.AF_INET, 1, 6, "", ("192.0.2.1", 80))])
        receiver.resolution.cancel()
        self.deliver()
        self.assertNoResult(receiver.done)
        self.assertTrue(self.threads[0].daemon)

    def test_no_thread(self) -> None:
        """Where the system gives no more of them the name does not resolve."""

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", start)
        receiver = self.resolve([])
        self.deliver()
        self.assertEqual(self.successResultOf(receiver.done), [])
