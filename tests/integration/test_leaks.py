"""A client's process whose ways out are trapped, and which is asked for everything (SECURITY S1, S2, S7).

tests/network/test_leaks waits for every answer, in virtual time; here the process is the real one.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import ENVIRONMENT, LOOPBACK, Network, accepts, free_port, wait_for
from tests.testing.proxyrequests import (
    BAD,
    NEVER,
    RESOLVE_PTR,
    http_forms,
    http_refuses,
    socks4,
    socks5,
    socks5_address,
    socks_forms,
    socks_refuses,
)

TRAPPED = Path(__file__).with_name("trapped.py")
ANSWER_TIME = 30.0
"""Seconds in which an answer comes that needs no node that is dead."""
SILENCE = 2.0
"""Seconds after the end of all nodes in which the destination is watched."""


class TrappedNetwork(Network):
    """A network whose client is trapped."""

    @property
    def report(self) -> Path:
        """What the trap has to say, when the client has ended."""
        return self.directory / "report.json"

    def start_client(self) -> None:
        """Start it with the trap: it may reach the pool and the nodes."""
        ports = ",".join(map(str, (self.pool_port, *self.node_ports.values())))
        state = f"--state-dir={self.state('client')}"
        proxies = [f"--{name}=tcp:{port}:interface={LOOPBACK}" for name, port in
                   (("socks", self.socks_port), ("http", self.http_port))]  # fmt: skip
        command = ["-n", "--pidfile=", "torpydo-client", state, f"--pool={self.pool_url}", *proxies]
        client = self.run("client", sys.executable, TRAPPED, self.report, ports, *command)
        wait_for(lambda: bool(self.status()["ready"]) or client.status is not None, "the client is ready")


class Destination(threading.Thread):
    """Answers one page, and counts who comes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.visits = 0

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.visits += 1
            with connection:
                connection.settimeout(5.0)
                try:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npage")
                except OSError:
                    continue

    def close(self) -> None:
        """Nobody may come any more."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def send(port: int, request: bytes) -> socket.socket:
    """An application asks a proxy."""
    connection = socket.create_connection((LOOPBACK, port), timeout=ANSWER_TIME)
    connection.sendall(request)
    return connection


def answer_of(connection: socket.socket, request: bytes) -> bytes:
    """What the proxy says, as far as it takes to know yes from no; nothing, if it hangs up."""
    enough = 4 if request[:1] == b"\x05" else 12 if request[:1] not in b"\x04\x05" else 2
    data = b""
    with connection:
        try:
            while len(data) < enough and (part := connection.recv(4096)):
                data += part
        except ConnectionResetError:
            return data
    return data


class LeakTests(SynchronousTestCase):
    """One client, from its start to its end."""

    def setUp(self) -> None:
        self.network = TrappedNetwork(nodes=3)
        self.addCleanup(self.network.close)
        self.network.start()
        self.destination = Destination()
        self.destination.start()
        self.addCleanup(self.destination.close)

    def ask_all(self, port: int, requests: list[bytes]) -> list[bytes]:
        """Ask a proxy for everything at once, some at a time."""
        answers = []
        for start in range(0, len(requests), 24):
            some = requests[start : start + 24]
            asking = [(send(port, request), request) for request in some]
            answers += [answer_of(connection, request) for connection, request in asking]
        return answers

    def test_from_start_to_end(self) -> None:
        """Bootstrap, destinations in every form, errors, the end of all nodes: no lookup, and nobody else reached."""
        network, there = self.network, self.destination.port
        socks, http = network.socks_port, network.http_port
        good = [socks5(LOOPBACK, there), socks5_address(LOOPBACK, there), socks4(LOOPBACK, there)]
        good += socks_forms("localhost", there)[:3]
        self.assertEqual([socks_refuses(answer) for answer in self.ask_all(socks, good)], [False] * len(good))
        pages = http_forms(LOOPBACK, there) + http_forms("localhost", there)
        self.assertEqual([answer[9:12] for answer in self.ask_all(http, pages)], [b"200"] * len(pages))
        bad = [socks5_address("::1", 80), socks5_address("2001:db8::1", 80), socks5_address("192.0.2.1", 80)]
        bad += [socks5(LOOPBACK, free_port()), socks5("no.such.name.invalid", 80), socks5(LOOPBACK, 0, RESOLVE_PTR)]
        bad += [one for name in (*NEVER, *BAD) for one in socks_forms(name, 80)[:3] if "\0" not in name]
        for request, answer in zip(bad, self.ask_all(socks, bad), strict=True):
            self.assertTrue(socks_refuses(answer) or not answer, (request, answer))
        bad = [one for name in ("::1", "no.such.name.invalid", *NEVER, *BAD) for one in http_forms(name, 80)]
        for request, answer in zip(bad, self.ask_all(http, bad), strict=True):
            self.assertTrue(http_refuses(answer) or not answer, (request, answer))
        self.assertGreater(self.destination.visits, len(good))
        self.without_nodes(good + pages)
        self.assertEqual(network.processes["client"].end(), 0)
        report = json.loads(network.report.read_text())
        self.assertEqual(report["leaks"], [])
        # The trap has seen the client connect, and only so.
        self.assertIn(network.pool_port, report["reached"])
        self.assertTrue(set(report["reached"]) & set(network.node_ports.values()))
        self.assertLessEqual(set(report["reached"]), {network.pool_port, *network.node_ports.values()})

    def without_nodes(self, requests: list[bytes]) -> None:
        """With no node left, what could be had a moment ago is not had in any other way."""
        for name in self.network.node_ports:
            self.network.processes[name].kill()
        visits = self.destination.visits
        asking = [
            send(self.network.socks_port if request[0] in b"\x04\x05" else self.network.http_port, request)
            for request in requests
        ]
        for connection, request in zip(asking, requests, strict=True):
            connection.settimeout(SILENCE if connection is asking[0] else 0.01)
            try:
                answer = answer_of(connection, request)
            except TimeoutError:
                continue
            self.assertTrue(socks_refuses(answer) or http_refuses(answer) or not answer, (request, answer))
        # Nobody has come, and somebody could have.
        self.assertEqual(self.destination.visits, visits)
        self.assertTrue(accepts(self.destination.port))
        wait_for(lambda: self.destination.visits > visits, "it is still there")


PROGRAM = """
import socket, sys
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from torpydo.testing import LeakError, LeakGuard

async def main(reactor, port):
    guard = LeakGuard(reactor)
    guard.allow("localhost", int(port))
    with guard:
        # The name is looked up in a thread, by a function that Twisted took out of socket when it was imported.
        await connectProtocol(HostnameEndpoint(guard.reactor, "localhost", int(port)), Protocol())
        socket.create_connection(("localhost", int(port))).close()
        await deferToThread(lambda: socket.create_connection(("127.0.0.1", int(port))).close())
        guard.check()
        for endpoint, expected in (
            (TCP4ClientEndpoint(guard.reactor, "127.0.0.1", 1), LeakError),
            (TCP4ClientEndpoint(reactor, "127.0.0.1", 1), ConnectError),
            (HostnameEndpoint(reactor, "elsewhere.invalid", 1), DNSLookupError),
        ):
            try:
                await connectProtocol(endpoint, Protocol())
            except expected:
                continue
            raise AssertionError(endpoint)
    print(len(guard.leaks))

react(lambda reactor, port: ensureDeferred(main(reactor, port)), sys.argv[1:])
"""


class RealReactorTests(SynchronousTestCase):
    """A guard on a reactor that has real sockets, threads and names."""

    def test_what_is_allowed_and_what_is_not(self) -> None:
        """An allowed name is looked up and connected to; the reactor under the guard leaks nothing either."""
        destination = Destination()
        destination.start()
        self.addCleanup(destination.close)
        command = [sys.executable, "-c", PROGRAM, str(destination.port)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60.0, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "3\n"), done.stderr)
        self.assertEqual(destination.visits, 3)
