"""What nobody may read in a log, a traceback, a repr, a status or a file: planted, used for everything, and looked for.

SECURITY I1. A whole network does what it does all day, and what goes wrong goes wrong. Keys and the data of streams are
secret at every level; who talks to whom is from info on.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import attrs
import msgspec
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.network.base import NetworkTestCase
from tests.testing.plants import Everything, Plant, found, live_keys, live_objects
from tests.testing.proxyrequests import socks5
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory
from torpydo.client import Client
from torpydo.net import StateDirectory
from torpydo.testing import LocalNetwork

UP, DOWN = b"what alice says, which is hers", b"what bob answers, which is his"
TARGET, PORT = "target-of-alice.example", 47111
ABSENT, HIDDEN = "absent-target.example", "hidden-target-of-alice.onion"
USER, PASSWORD, TOKEN = "alice-as-user", "correct-horse-battery", "isolation-of-alice"
PATH, HEADER = "/path-of-alice", "header-of-alice"
APPLICATION = "10.9.9.9"
SOCKS, HTTP = 9050, 8118
# Whose lines these are, all processes being one: of a client, or of rooms that a client shares with others.
OF_A_CLIENT = ("torpydo.client", "torpydo.apps", "torpydo.net")


class Answering(Recorder):
    """The destination."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.tcp.write(DOWN)


class Looking(Recorder):
    """An application in whose hands data are: they are in every object on the way, too."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self.look = look

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.look()


class Careless(Recorder):
    """An application that fails on what it reads."""

    def dataReceived(self, data: bytes) -> None:
        raise ValueError("a mistake of the application")


def login(request: bytes) -> bytes:
    """The same request of SOCKS5, with user and password."""
    user, password = USER.encode(), PASSWORD.encode()
    pair = b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password
    return b"\x05\x01\x02" + pair + request[3:]


class KeyClassTests(SynchronousTestCase):
    """What a class that holds a key shows of itself."""

    ROOMS = ("crypto", "tpdp", "net", "client", "node", "node.workers", "pool", "cli")
    KEY = re.compile(r"(^|_)(key|keys|secret|seed|bind|ephemeral|identity|first|forward|backward|aegis)$")

    def test_no_raw_key_in_a_generated_repr(self) -> None:
        """A field of plain bytes that is named like a key is in no repr that attrs or msgspec makes."""
        looked_at, wrong = 0, []
        for room in self.ROOMS:
            package = import_module(f"torpydo.{room}")
            for module in iter_modules(package.__path__, f"torpydo.{room}."):
                if module.name.endswith("__main__"):
                    continue
                for kind in vars(import_module(module.name)).values():
                    if isinstance(kind, type) and kind.__module__ == module.name:
                        for name, is_bytes in shown_fields(kind):
                            looked_at += 1
                            if is_bytes and self.KEY.search(name):
                                wrong.append(f"{kind.__module__}.{kind.__name__}.{name}")
        self.assertGreater(looked_at, 300)
        self.assertEqual(wrong, [])


def shown_fields(kind: type) -> Iterator[tuple[str, bool]]:
    """The fields that the generated repr of a class shows, and whether each is plain bytes."""
    made_of = getattr(kind.__repr__, "__code__", None)
    if attrs.has(kind) and made_of is not None and "attrs generated" in made_of.co_filename:
        for field in attrs.fields(kind):
            if field.repr:
                yield field.name, field.type in (bytes, "bytes", "bytes | None")
    elif issubclass(kind, msgspec.Struct) and kind.__repr__ is msgspec.Struct.__repr__:
        for name in kind.__struct_fields__:
            text = str(kind.__annotations__.get(name, ""))
            yield name, any(words in text for words in ("bytes", "_Key"))


class SecretTests(NetworkTestCase):
    """One long day."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.keys: dict[bytes, str] = {}
        self.shown: set[str] = set()
        # What was there before is not looked at again and again.
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        self.log = Everything()
        self.log.start()
        self.addCleanup(self.log.stop)

    def look(self) -> None:
        """Learn which keys there are now, and what everything says about itself."""
        self.keys |= live_keys()
        for thing in live_objects():
            self.shown |= {repr(thing), str(thing), f"{thing}"}

    def step(self, seconds: float, looks: int = 1) -> None:
        """Let time pass, and look in between."""
        for _ in range(looks):
            self.network.advance(seconds / looks)
            self.keys |= live_keys()

    def begin(self) -> Client:
        """A network that keeps everything on disk, and applications."""
        network = self.network = LocalNetwork(latency=0.01)
        self.addCleanup(self.finish, network)
        for member in (network.pool, *network.nodes):
            member.state_dir = os.path.join(self.scratch, member.name)
        network.start_servers()
        self.look()
        making = network.add_client(state_dir=os.path.join(self.scratch, "client"))
        # Links and circuits in every state.
        for _ in range(6):
            self.step(0.15, 10)
            self.look()
        client = network.success(making)
        # Whoever runs a destination may log what he likes.
        self.log.stop()
        network.serve(Servers(Answering), PORT, TARGET)
        self.log.start()
        host = network.clients[0].reactor
        proxies = {SOCKS: SocksFactory(client, host), HTTP: HTTPProxyFactory(client, host)}
        self.ports = [host.listenTCP(port, proxy, interface="10.0.2.1") for port, proxy in proxies.items()]
        self.application = network.reactor.host(APPLICATION)
        return client

    def finish(self, network: LocalNetwork) -> None:
        """Let the applications hang up first."""
        self.application.kill()
        for port in self.ports:
            port.stopListening()
        super().finish(network)

    def ask(self, port: int, request: bytes) -> None:
        """An application asks a proxy, and sends something behind."""
        where = TCP4ClientEndpoint(self.application, "10.0.2.1", port)
        recorder = self.network.success(connectProtocol(where, Recorder()))
        recorder.tcp.write(request)
        self.step(1.0, 2)
        recorder.tcp.write(UP)
        self.step(0.05)
        self.look()
        self.step(1.0)
        recorder.tcp.abortConnection()

    def attempt(self, client: Client, host: str, port: int, kind: Callable[[], Recorder] = Recorder) -> Recorder | None:
        """A stream of an application on the client's own API, which may fail."""
        opened: list[Any] = []
        endpoint = client.endpoint(host, port, isolation=TOKEN)
        endpoint.connect(Factory.forProtocol(kind)).addBoth(opened.append)
        self.step(2.0, 2)
        if not opened or isinstance(opened[0], Failure):
            return None
        opened[0].tcp.write(UP)
        self.step(1.0)
        protocol: Recorder = opened[0]
        return protocol

    def live(self, client: Client) -> None:
        """What works and what does not: names, ports, policies, applications, nodes and the pool."""
        network = self.network
        address = network.destinations[TARGET].ip
        get = f"GET http://{TARGET}:{PORT}{PATH} HTTP/1.1\r\nHost: {TARGET}:{PORT}\r\nX-Alice: {HEADER}\r\n\r\n"
        for request in (socks5(TARGET, PORT), socks5(ABSENT, PORT), socks5(address, PORT + 1), socks5(HIDDEN, PORT)):
            self.ask(SOCKS, login(request))
        self.ask(HTTP, get.encode())
        self.ask(HTTP, get.replace(TARGET, ABSENT).encode())
        self.ask(HTTP, f"CONNECT {TARGET}:{PORT} HTTP/1.1\r\nHost: {TARGET}\r\n\r\n".encode())
        for host, port in ((ABSENT, PORT), (TARGET, PORT + 1), ("192.0.2.77", PORT), (address, PORT)):
            stream = self.attempt(client, host, port)
            if stream is not None:
                stream.tcp.loseConnection()
        client.resolve(ABSENT).addErrback(lambda failure: None)
        looking = self.attempt(client, TARGET, PORT, partial(Looking, self.look))
        assert looking is not None
        self.assertEqual(looking.data, DOWN)
        looking.tcp.loseConnection()
        self.attempt(client, TARGET, PORT, Careless)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        # Strangers at the doors.
        for where, data in (("10.0.0.1", b"POST /v1/heartbeat HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
                            ("10.0.1.1", bytes(600)), ("10.0.0.1", b"\xff" * 100)):  # fmt: skip
            port = 80 if where == "10.0.0.1" else 6000
            stranger = network.success(connectProtocol(TCP4ClientEndpoint(self.application, where, port), Recorder()))
            stranger.tcp.write(data)
            self.step(11.0)

    def fall(self, client: Client) -> None:
        """Nodes die while streams are open, then the pool, then all."""
        for victims in (self.network.nodes[:1], self.network.nodes[1:3], [self.network.pool], self.network.nodes[3:]):
            self.attempt(client, TARGET, PORT)
            for member in victims:
                member.kill()
            self.attempt(client, TARGET, PORT)
            client.build_circuit().addErrback(lambda failure: None)
            self.step(30.0)
        # Their processes are gone, but what these had open is this process's; the client's own goes with the client.
        for state in [one for one in gc.get_objects() if isinstance(one, StateDirectory)]:
            if state.path("x") != os.path.join(self.scratch, "client", "x"):
                state.close()

    def files(self) -> dict[str, bytes]:
        """Everything on the disk."""
        found_files = {}
        for folder, _, names in os.walk(self.scratch):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    found_files[os.path.relpath(file.name, self.scratch)] = file.read()
        return found_files

    def test_a_day(self) -> None:
        """Nothing that is planted is found where it must not be."""
        client = self.begin()
        self.live(client)
        status = json.dumps(attrs.asdict(client.status()))
        self.assertIn("circuits can be built", status)
        path = {name for circuit in client.status().circuits for name in circuit.path}
        self.fall(client)
        keys = [Plant.of_bytes(name, raw) for raw, name in self.keys.items()]
        data = [Plant.of_bytes("stream data", UP), Plant.of_bytes("stream data", DOWN)]
        who = [Plant.of_text(text) for text in (TARGET, ABSENT, HIDDEN, str(PORT), str(PORT + 1), "192.0.2.77", PATH)]
        who += [Plant.of_text(text) for text in (USER, PASSWORD, TOKEN, HEADER, APPLICATION, "10.0.2.1", "10.0.3.1")]
        nodes = [
            Plant.of_text(text) for node in self.network.nodes for text in (node.name, node.node_id.short, node.ip)
        ]
        self.assertGreaterEqual(len({plant.name for plant in keys}), 7)
        self.assertGreater(len(keys) + len(data) + len(who) + len(nodes), 100)
        self.assertTrue(path)
        # The log, with tracebacks. Something was said at both levels, and failures were.
        self.assertTrue(self.log.quiet and self.log.loud)
        self.assertEqual(found(keys + data, self.log.texts), [])
        loud = [text for _, text in self.log.loud]
        self.assertEqual(found(who, loud), [])
        self.assertEqual(found(nodes, [text for name, text in self.log.loud if name.startswith(OF_A_CLIENT)]), [])
        # What everything says about itself, which debuggers and assertions print.
        self.assertGreater(len(self.shown), 1000)
        self.assertEqual(found(keys + data, self.shown), [])
        # The status.
        self.assertEqual(found(keys + data + who, [status]), [])
        # The disk.
        self.check_files(keys, data, who)

    def check_files(self, keys: list[Plant], data: list[Plant], who: list[Plant]) -> None:
        """Each identity and onion key is in the file that is for it, and nothing else is in any."""
        identity = ("SigningKey: seed", "SigningKey: _expanded")
        homes = {"node.key": identity, "pool.key": identity, "onion.keys": ("DHSecretKey: raw",)}
        files = {path: content.decode("latin-1") for path, content in self.files().items()}
        for name in homes:
            self.assertTrue([path for path in files if path.endswith(name)])
        for path, content in files.items():
            allowed = homes.get(os.path.basename(path), ())
            self.assertEqual(found([key for key in keys if key.name not in allowed], [content]), [], path)
            self.assertEqual(bool(found([key for key in keys if key.name in allowed], [content])), bool(allowed), path)
            # A pool's database has the addresses of nodes, which may begin like others.
            self.assertEqual(found(data if "pool.db" in path else [*data, *who], [content]), [], path)
