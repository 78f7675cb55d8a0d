"""Tests of torpydo.taps.service and of the options that taps with a network share."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id, url
from tests.taps import running
from torpydo.client import DEFAULT_LIMITS, ClientLimits
from torpydo.crypto import NodeId
from torpydo.errors import ConfigurationError, StateError
from torpydo.net import FileBudget, open_key_file
from torpydo.onion import DHSecretKey, OnionName, Secret, client_key_text
from torpydo.taps.ending import CannotStart
from torpydo.taps.service import KEY_FILE, OnionHost, Options, ServiceConfig, makeService

URL = str(url())
CLIENT = DHSecretKey(Secret(b"c" * 32)).public


class OptionsTests(SynchronousTestCase):
    """What can be typed."""

    def parse(self, *arguments: str) -> ServiceConfig:
        options = Options()
        options.parseOptions(list(arguments))
        return options.config()

    def refused(self, *arguments: str) -> str:
        text = str(self.assertRaises(UsageError, Options().parseOptions, list(arguments)))
        self.assertNotIn("\n", text)
        return text

    def test_defaults(self) -> None:
        """A pool and a port are all that must be given; the key is in the state directory."""
        config = self.parse(f"--pool={URL}", "--port=80")
        self.assertEqual((config.pools, config.threshold), ((URL,), None))
        self.assertEqual((config.ports, config.clients, config.limits), (("80",), (), DEFAULT_LIMITS))
        self.assertEqual(config.state_dir, os.path.expanduser("~/.local/state/torpydo/service"))
        self.assertEqual(config.key_file, os.path.join(config.state_dir, KEY_FILE))

    def test_the_key_moves_with_the_state_directory(self) -> None:
        """Unless it has a place of its own."""
        config = self.parse(f"--pool={URL}", "--port=80", "--state-dir=/x")
        self.assertEqual((config.state_dir, config.key_file), ("/x", f"/x/{KEY_FILE}"))
        config = self.parse(f"--pool={URL}", "--port=80", "--state-dir=/x", "--key-file=/y/key")
        self.assertEqual((config.state_dir, config.key_file), ("/x", "/y/key"))

    def test_everything(self) -> None:
        """Each option is used."""
        other = str(url("other", "127.0.0.2"))
        config = self.parse(
            f"--pool={URL}", f"--pool={other}", f"--pool={URL}", "--pool-threshold=2", "--state-dir=/x",
            "--port=80:127.0.0.1:8000", "--port=22:unix:/run/ssh", "--port=81:8001", "--limit=memory=8M",
            f"--client={client_key_text(CLIENT)}", "--key-file=/k",
        )  # fmt: skip
        self.assertEqual((config.pools, config.threshold), ((URL, other), 2))
        self.assertEqual(config.ports, ("80:127.0.0.1:8000", "22:unix:/run/ssh", "81:8001"))
        self.assertEqual((config.limits, config.clients), (ClientLimits(memory=8 << 20), (CLIENT,)))

    def test_all_kinds_of_ports(self) -> None:
        """Names and IPv6 addresses too; nothing is looked up or opened yet, and nothing is complained of."""
        ports = ("80", "80:8000", "80:10.0.0.1:8000", "80:[::1]:8000", "80:localhost:8000", "80:unix:/run/web")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for port in ports:
                self.assertEqual(self.parse(f"--pool={URL}", f"--port={port}").ports, (port,))

    def test_wrong_options(self) -> None:
        """Each is one line that names what is wrong."""
        pool, port = f"--pool={URL}", "--port=80"
        for word, arguments in (
            ("pool.url", [port]),
            ("key", ["--pool=http://192.0.2.1:80/", port]),
            ("--pool-threshold=2", [pool, port, "--pool-threshold=2"]),
            ("--pool-threshold=0", [pool, port, "--pool-threshold=0"]),
            ("--state-dir", [pool, port, "--state-dir="]),
            ("--port=80:127.0.0.1:8000", [pool]),
            ("'more' is not an option of a service", [pool, port, "more"]),
            ("--limit=size=3", [pool, port, "--limit=size=3"]),
            ("twice", [pool, port, "--port=80:8000"]),
            ("twice", [pool, port, "--port=080:8000"]),
            ("52 letters", [pool, port, "--client=short"]),
            ("52 letters", [pool, port, f"--client={client_key_text(CLIENT)[:-1]}"]),
            ("metrics", [pool, port, "--metrics=nonsense"]),
        ):
            self.assertIn(word, self.refused(*arguments), arguments)
        self.refused(pool, port, "--no-such-option")

    def test_wrong_ports(self) -> None:
        """With an example of how one looks."""
        for text in ("", "0", "65536", "http", "80:", "80:0", "80:host:", "80:host:0", "80:host:http", ":80",
                     "80:unix:", "unix:/run/web", "80:[::1]", "-1", "\u0661"):  # fmt: skip
            self.assertIn("80:127.0.0.1:8000", self.refused(f"--pool={URL}", f"--port={text}"), text)


@attrs.frozen
class Figures:
    """What the double says of itself."""

    nodes: int = 7
    ready: bool = True
    refused: Mapping[str, int] = {"stream_wait": 2}


@attrs.define(eq=False)
class HostedDouble:
    """A service that is there when the test says so."""

    name: str = "name.torpydo"
    is_reachable: bool = False
    introduction_points: tuple[NodeId, ...] = ()


@attrs.define(eq=False)
class ClientDouble(running.ClientDouble):
    """A client that hosts a service."""

    error: Exception | None = None
    asked: tuple[Any, dict[str, Any]] | None = None
    hosted: HostedDouble = attrs.field(factory=HostedDouble)

    def host_onion_service(self, ports: Any, **options: Any) -> HostedDouble:
        """Like ``Client.host_onion_service``."""
        if self.error is not None:
            raise self.error
        self.asked = ports, options
        return self.hosted


class HostTests(running.RunningClientTests):
    """Start and stop."""

    client: ClientDouble
    role = "service"

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.client = ClientDouble(Figures())
        self.config = ServiceConfig((URL,), 1, "/state", ("80", "81:8001"), "/key", (CLIENT,))
        self.host = self.service = OnionHost(self.reactor, self.config, self.client.start)

    def test_the_client_gets_the_options(self) -> None:
        """All of them, and so does the service."""
        self.started()
        self.assertEqual(self.client.arguments, (self.reactor, (URL,), "/state"))
        self.assertEqual(self.client.options, {"pool_threshold": 1, "limits": DEFAULT_LIMITS})
        assert self.client.asked is not None
        ports, options = self.client.asked
        self.assertEqual([port for port, _ in ports], [80, 81])
        self.assertEqual((options["key_file"], options["clients"]), ("/key", (CLIENT,)))
        ports[1][1].connect(Factory())
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("127.0.0.1", 8001)])

    def test_visitors_who_do_not_reach_the_program(self) -> None:
        """They are counted, with what the client has refused, and the log says why; no file goes beyond the reserve."""
        free = 40
        self.host = self.service = OnionHost(
            self.reactor, self.config, self.client.start, FileBudget(self.reactor.seconds, free, lambda: 0)
        )
        self.started()
        assert self.client.asked is not None
        [(_, program), _] = self.client.asked[0]
        with capturedLogs() as self.logs:
            for _ in range(free):
                program.connect(Factory()).addErrback(lambda failure: failure.trap(ConnectError))
        refused = self.host.host_status().refused
        self.assertEqual((refused["service_files"], refused["stream_wait"]), (free - len(self.reactor.tcpClients), 2))
        self.assertGreater(refused["service_files"], 30)
        self.assertIn("no file descriptors left", self.lines("info")[0])

    def test_the_name_is_said(self) -> None:
        """At once: it does not depend on any node; and how far it is later."""
        self.started()
        self.assertEqual(self.lines("info"), ["the onion service is name.torpydo"])
        assert self.client.asked is not None
        with capturedLogs() as self.logs:
            self.client.asked[1]["progress"](100, "reachable", "it {can} be reached")
        self.assertEqual(self.lines("info"), ["it {can} be reached"])

    def test_status(self) -> None:
        """Before, while and after it runs."""
        before = self.host.host_status()
        self.assertEqual((before.name, before.reachable, before.introduction_points), (None, False, ()))
        self.assertIsNone(self.host.status())
        self.started()
        self.client.hosted.is_reachable, self.client.hosted.introduction_points = True, (node_id(1), node_id(2))
        now = self.host.host_status()
        points = (node_id(1).short, node_id(2).short)
        self.assertEqual((now.name, now.reachable, now.introduction_points), ("name.torpydo", True, points))
        self.assertIsNotNone(self.host.status())
        self.successResultOf(self.host.stopService())
        self.assertEqual((self.host.host_status(), self.host.status()), (before, None))
        self.assertEqual(set(before.refused.values()), {0})

    def test_a_service_that_cannot_be(self) -> None:
        """Nothing stays open."""
        self.client.error = StateError("/key: others may read or change it")
        self.assertRaises(StateError, self.host.startService)
        self.assertEqual((self.client.closed, self.host.running), (1, 0))

    def test_stop(self) -> None:
        """The client, and with it the service, is closed once; and it may be started again."""
        self.started()
        self.successResultOf(self.host.stopService())
        self.successResultOf(self.host.stopService())
        self.assertEqual(self.client.closed, 1)
        self.client.ready.callback(None)
        self.client.ready = Deferred()
        self.started()
        self.assertEqual(self.host.running, 1)


class MakeServiceTests(SynchronousTestCase):
    """From options to a running service."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.state = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)

    def make(self, *arguments: str) -> IService:
        options = Options()
        options.parseOptions([f"--pool={URL}", f"--state-dir={self.state}", "--port=80", *arguments])
        return makeService(options, self.reactor)

    def started(self, *arguments: str) -> str:
        """Start it; gives the name that its status tells."""
        service = self.make(*arguments)
        service.startService()
        said = running.told(self.reactor, self.state)
        self.assertEqual((said["reachable"], said["introduction_points"], said["ready"]), (False, [], False))
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("127.0.0.1", 8080)])
        service.stopService()
        self.reactor.unixServers.clear()
        self.reactor.tcpClients.clear()
        return str(said["name"])

    def test_the_name_stays(self) -> None:
        """The key is in the state directory, and the next start has the same name. Nothing listens but the status."""
        name = self.started()
        key = open_key_file(f"{self.state}/{KEY_FILE}", os.urandom)
        self.assertEqual(name, str(OnionName.of(key)))
        self.assertEqual(self.started(), name)
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertNotEqual(self.started(f"--key-file={self.state}/other"), name)

    def test_metrics(self) -> None:
        """They say that it is a service, and whether it can be found."""
        service: Any = self.make("--metrics=tcp:9104:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        [(port, factory, _, _)] = self.reactor.tcpServers
        page = factory.render().decode()
        self.assertEqual(port, 9104)
        self.assertIn('service="service"', page)
        self.assertIn("\ntorpydo_reachable 0.0\n", page)
        self.assertIn("\ntorpydo_introduction_points 0.0\n", page)

    def test_a_key_file_that_others_may_read_ends_it(self) -> None:
        """With the status for refused state, one line, and nothing that still runs."""
        self.started()
        os.chmod(f"{self.state}/{KEY_FILE}", 0o644)
        with capturedLogs() as lines:
            ended = self.assertRaises(CannotStart, self.make().startService)
        self.assertEqual(ended.code, StateError.exit_status)
        self.assertEqual(len([line for line in lines if line["log_level"].name == "critical"]), 1)
        # It may be started again: the state directory is free.
        os.chmod(f"{self.state}/{KEY_FILE}", 0o600)
        self.reactor.tcpClients.clear()
        self.reactor.unixServers.clear()
        self.started()

    def test_the_wrong_network(self) -> None:
        """Errors of options come before anything runs."""
        host = OnionHost(self.reactor, ServiceConfig((), None, self.state, ("80",), "k"))
        self.assertRaises(ConfigurationError, host.startService)
