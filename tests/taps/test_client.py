"""Tests of torpydo.taps.client."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import url
from tests.taps import running
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.isolation import NOBODY
from torpydo.apps.refusals import ProxyRefusal
from torpydo.apps.socks import SocksFactory
from torpydo.client import DEFAULT_LIMITS, ClientLimits
from torpydo.errors import ConfigurationError, ListenError, StateError
from torpydo.net import BACKLOG, FileBudget, open_dh_key_file
from torpydo.onion import OnionName, Secret, SigningKey
from torpydo.taps.client import ClientConfig, ClientService, Options, makeService
from torpydo.taps.ending import CannotStart
from torpydo.testing import SimulatedReactor

URL = str(url())
NAME = str(OnionName.of(SigningKey(Secret(b"k" * 32))))


class OptionsTests(SynchronousTestCase):
    """What can be typed."""

    def parse(self, *arguments: str) -> ClientConfig:
        options = Options()
        options.parseOptions(list(arguments))
        return options.config(MemoryReactorClock())

    def refused(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, Options().parseOptions, list(arguments)))

    def test_defaults(self) -> None:
        """A pool is all that must be given; both proxies are on loopback."""
        config = self.parse(f"--pool={URL}")
        assert config.socks is not None and config.http is not None
        self.assertEqual((config.pools, config.threshold, config.hops), ((URL,), None, 3))
        self.assertEqual(config.socks[1], "tcp:9050:interface=127.0.0.1")
        self.assertEqual(config.http[1], "tcp:8118:interface=127.0.0.1")
        self.assertTrue(config.state_dir)

    def test_everything(self) -> None:
        """Each option is used."""
        other = str(url("other", "127.0.0.2"))
        config = self.parse(
            f"--pool={URL}", f"--pool={other}", f"--pool={URL}", "--pool-threshold=2", "--state-dir=/x", "--hops=5",
            "--socks=tcp:1", "--http=unix:/y", "--limit=memory=8M", "--limit=connections=9", "--safe-socks",
            "--http-connect-only", "--allow-remote", f"--service-key={NAME.upper()}:/a:b", f"--service-key={NAME}:/c",
            "--isolate-ports",
        )  # fmt: skip
        self.assertEqual(config.pools, (URL, other))
        self.assertEqual((config.threshold, config.state_dir, config.hops), (2, "/x", 5))
        self.assertEqual(config.limits, ClientLimits(memory=8 << 20, connections=9))
        self.assertEqual((config.safe_socks, config.connect_only, config.allow_remote), (True, True, True))
        self.assertTrue(config.isolate_ports)
        self.assertEqual(config.service_keys, ((NAME, "/a:b"), (NAME, "/c")))

    def test_an_empty_endpoint_is_off(self) -> None:
        """One of the two may be."""
        self.assertIsNone(self.parse(f"--pool={URL}", "--socks=").socks)
        self.assertIsNone(self.parse(f"--pool={URL}", "--http=").http)

    def test_wrong_options(self) -> None:
        """Each is one line that names what is wrong."""
        pool = f"--pool={URL}"
        for word, arguments in (
            ("pool.url", []),
            ("key", ["--pool=http://192.0.2.1:80/"]),
            ("--pool-threshold=2", [pool, "--pool-threshold=2"]),
            ("--pool-threshold=0", [pool, "--pool-threshold=0"]),
            ("--hops=9", [pool, "--hops=9"]),
            ("--hops=0", [pool, "--hops=0"]),
            ("--state-dir", [pool, "--state-dir="]),
            ("both empty", [pool, "--socks=", "--http="]),
            ("--socks=nonsense", [pool, "--socks=nonsense:1"]),
            ("--http=tcp", [pool, "--http=tcp"]),
            ("'more'", [pool, "more"]),
            ("--limit=size=3", [pool, "--limit=size=3"]),
            ("--limit=memory=1K", [pool, "--limit=memory=1K"]),
            ("NAME.torpydo:FILE", [pool, f"--service-key={NAME}"]),
            ("NAME.torpydo:FILE", [pool, f"--service-key={NAME}:"]),
            ("name", [pool, "--service-key=/c"]),
            ("name", [pool, f"--service-key=a{NAME[1:]}:/c"]),
        ):
            self.assertIn(word, self.refused(*arguments))
        self.refused(pool, "--no-such-option")


@attrs.frozen
class Nodes:
    """What the double says of itself."""

    nodes: int = 7
    refused: Mapping[str, int] = {"stream_wait": 2}


@attrs.define(eq=False)
class Endpoint:
    """Listens, or does not."""

    error: Exception | None = None
    host: str = "127.0.0.1"
    factory: IProtocolFactory | None = None
    stopped: bool = False

    def listen(self, factory: IProtocolFactory) -> Deferred[Any]:
        """Like an endpoint."""
        if self.error is not None:
            raise self.error
        self.factory = factory
        return succeed(self)

    def getHost(self) -> IPv4Address:
        """Like a port."""
        return IPv4Address("TCP", self.host, 9050)

    def stopListening(self) -> None:
        """Like a port."""
        self.stopped = True


class ServiceTests(running.RunningClientTests):
    """Start and stop."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.client = running.ClientDouble(Nodes())
        self.socks, self.http = Endpoint(), Endpoint()
        self.config = ClientConfig((URL,), None, "/state", (self.socks, "tcp:9050"), (self.http, "tcp:8118"), 4)
        self.service = ClientService(self.reactor, self.config, self.client.start)

    def test_the_client_gets_the_options(self) -> None:
        """All of them."""
        self.started()
        self.assertEqual(self.client.arguments, (self.reactor, (URL,), "/state"))
        self.assertEqual(self.client.options, {"pool_threshold": None, "hops": 4, "limits": DEFAULT_LIMITS})

    def test_the_proxies_get_the_options(self) -> None:
        """Limits, what they refuse, and the file descriptors of the process."""
        limits = ClientLimits(connections=1)
        self.config = attrs.evolve(self.config, limits=limits, safe_socks=True, connect_only=True, isolate_ports=True)
        files = FileBudget(self.reactor.seconds, 33, lambda: 0)
        self.service = ClientService(self.reactor, self.config, self.client.start, files)
        self.started()
        socks, http = self.socks.factory, self.http.factory
        assert isinstance(socks, SocksFactory) and isinstance(http, HTTPProxyFactory)
        self.assertEqual((socks.limits, http.limits), (limits, limits))
        self.assertEqual((socks.refuse_addresses, http.connect_only), (True, True))
        for front in (socks, http):
            peer = IPv4Address("TCP", "127.0.0.1", 1)
            self.assertNotEqual(*(front.isolation_key(peer, NOBODY, port) for port in (80, 443)))
        self.assertEqual([socks.admits(), http.admits()], [True, False])
        self.assertEqual(self.service.refusals.counts()["proxy_files"], 1)

    def test_both_proxies_listen_before_the_client_is_ready(self) -> None:
        """And say where."""
        self.started()
        self.assertIsNotNone(self.socks.factory)
        self.assertIsNotNone(self.http.factory)
        self.assertEqual(
            self.lines("info"),
            ["the SOCKS proxy listens on 127.0.0.1:9050", "the HTTP proxy listens on 127.0.0.1:9050"],
        )
        self.assertEqual(self.lines("warn"), [])

    def test_many_may_wait_at_a_proxy(self) -> None:
        """A browser opens dozens of connections in a moment, and some users share a proxy."""
        reactor: Any = SimulatedReactor()
        endpoint = TCP4ServerEndpoint(reactor, 9050, interface="127.0.0.1")
        self.config = attrs.evolve(self.config, socks=(endpoint, "tcp:9050"))
        self.service = ClientService(self.reactor, self.config, self.client.start)
        self.started()
        port: Any = self.service._ports[0]
        self.assertEqual(port.socket._backlog, BACKLOG)

    def test_the_status_of_the_proxies(self) -> None:
        """What they have refused, by cause, and what the client has."""
        self.assertEqual(set(self.service.proxies_status().refused.values()), {0})
        self.started()
        self.service.refusals.add(ProxyRefusal.PROXY_SILENCE, 3)
        refused = self.service.proxies_status().refused
        self.assertEqual((refused["proxy_silence"], refused["stream_wait"]), (3, 2))

    def test_a_proxy_that_others_reach_is_refused(self) -> None:
        """It has no password, and a missing interface=127.0.0.1 is a slip (SECURITY S3). Nothing stays open."""
        self.http.host = "0.0.0.0"
        error = self.assertRaises(ConfigurationError, self.service.startService)
        self.assertIn("--allow-remote", str(error))
        self.assertEqual((self.socks.stopped, self.http.stopped, self.client.closed), (True, True, 1))

    def test_a_proxy_that_others_reach_is_warned_of(self) -> None:
        """Even if that is meant."""
        self.service = ClientService(self.reactor, attrs.evolve(self.config, allow_remote=True), self.client.start)
        self.socks.host = "0.0.0.0"
        self.started()
        self.assertIn("no password", self.lines("warn")[0])

    def test_a_busy_port_is_an_error_and_nothing_stays_open(self) -> None:
        """It names the port and what to do."""
        self.http.error = CannotListenError("127.0.0.1", 8118, OSError(98, "Address already in use"))
        error = self.assertRaises(ListenError, self.service.startService)
        for word in ("tcp:8118", "HTTP", "Address already in use", "another address"):
            self.assertIn(word, str(error))
        self.assertTrue(self.socks.stopped)
        self.assertTrue(self.client.closed)

    def test_stop(self) -> None:
        """Ports and client are closed."""
        self.started()
        self.successResultOf(self.service.stopService())
        self.assertTrue(self.socks.stopped and self.http.stopped and self.client.closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class MakeServiceTests(SynchronousTestCase):
    """From options to a running client."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.state = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)

    def make(self, *arguments: str) -> IService:
        options = Options()
        options.parseOptions([f"--pool={URL}", f"--state-dir={self.state}", *arguments])
        return makeService(options, self.reactor)

    def test_listens_and_asks_the_pool(self) -> None:
        """The real client, on a reactor without sockets."""
        # A port of this reactor says that it is everywhere.
        service = self.make("--http=", "--allow-remote")
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [9050])
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("127.0.0.1", 8080)])

    def test_the_key_of_a_client(self) -> None:
        """It is read at the start, and used for that service."""
        path = f"{self.state}/me.client"
        key = open_dh_key_file(path, os.urandom)
        service: Any = self.make("--http=", "--allow-remote", f"--service-key={NAME}:{path}")
        service.startService()
        self.addCleanup(service.stopService)
        keys = next(iter(service))._client.onions._connector.client_keys
        self.assertEqual({str(name): known.public for name, known in keys.items()}, {NAME: key.public})

    def test_the_key_of_a_client_that_is_not_there(self) -> None:
        """A new one would be known to no service. It ends with the status for state, and nothing is made or left."""
        service = self.make(f"--service-key={NAME}:{self.state}/you.client")
        ended = self.assertRaises(CannotStart, service.startService)
        self.assertEqual(ended.code, StateError.exit_status)
        self.assertIn("you.client", str(ended))
        self.assertNotIn("you.client", os.listdir(self.state))
        self.assertEqual(self.reactor.tcpServers, [])

    def test_the_status_is_served_in_the_state_directory(self) -> None:
        """To the same user only: the client, what its proxies refused, and the process are one answer."""
        service = self.make("--http=", "--allow-remote")
        service.startService()
        self.addCleanup(service.stopService)
        said = running.told(self.reactor, self.state)
        self.assertEqual((said["ready"], said["refused"]["proxy_silence"], said["uptime"]), (False, 0, 0.0))

    def test_a_status_that_a_killed_client_left(self) -> None:
        """It starts again, whatever process has the number of that one now."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(f"{self.state}/status.sock")
        for number in (1, os.getpid()):
            os.symlink(str(number), f"{self.state}/status.sock.lock")
            service = self.make("--http=", "--allow-remote")
            service.startService()
            running.told(self.reactor, self.state)
            self.assertEqual([name for name in os.listdir(self.state) if name.startswith("status.sock")], [])
            service.stopService()
            self.reactor.unixServers.clear()

    def test_without_a_status(self) -> None:
        """It costs one line, not the client."""

        def refuse(*arguments: object, **options: object) -> None:
            raise CannotListenError(None, "status.sock", OSError("AF_UNIX path too long"))

        self.patch(self.reactor, "listenUNIX", refuse)
        service = self.make("--http=", "--allow-remote")
        with capturedLogs() as lines:
            service.startService()
        self.addCleanup(service.stopService)
        warned = [line["log_format"].format(**line) for line in lines if line["log_level"].name == "warn"]
        self.assertEqual(len([line for line in warned if "'torpydo status' will not work" in line]), 1)

    def test_a_proxy_on_a_unix_socket(self) -> None:
        """It is the user's own, unless its mode is said (SECURITY S3)."""
        for words, mode in ((f"unix:{self.state}/x", 0o600), (f"unix:{self.state}/x:mode=660", 0o660)):
            service = self.make("--http=", f"--socks={words}")
            service.startService()
            [proxy, _] = self.reactor.unixServers
            self.assertEqual((proxy[0], proxy[3], proxy[4]), (f"{self.state}/x", mode, False))
            service.stopService()
            self.reactor.unixServers.clear()

    def test_a_state_directory_that_others_may_read_ends_it(self) -> None:
        """With the status for refused state, and one line."""
        os.chmod(self.state, 0o755)
        with capturedLogs() as lines:
            ended = self.assertRaises(CannotStart, self.make().startService)
        self.assertEqual(ended.code, StateError.exit_status)
        self.assertEqual(len([line for line in lines if line["log_level"].name == "critical"]), 1)
