"""Tests of torpydo.cli.doctor.command and what it asks."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, descriptor, document, key
from tests.net.pools import Answer, Pools, signed
from torpydo.apps.status import STATUS_SOCKET
from torpydo.cli.doctor.command import ALL_TIME, Doctor
from torpydo.cli.doctor.findings import Finding, Verdict
from torpydo.crypto import NodeId
from torpydo.directory import TEST_NETWORK, PoolURL
from torpydo.errors import LinkError, StateError
from torpydo.net import StateDirectory
from torpydo.node import Advertised
from torpydo.testing import LocalNetwork
from torpydo.tpdp import Address

WEB = "accept *:443, accept *:80"
NODES = [document(number, policy=WEB if number <= 2 else "") for number in range(1, 13)]
OWN = descriptor(1).address


def url(name: str, keyed: bool = True) -> PoolURL:
    """A pool on a port of its own."""
    return PoolURL("127.0.0.1", 8000 + ord(name), key(name).pool_id if keyed else None)


class Names:
    """A resolver that knows one name."""

    def resolveHostName(self, receiver: Any, host: str, port: int) -> None:
        """Two addresses, the longer one first."""
        if host == "node.example.org":
            receiver.addressResolved(IPv6Address("TCP", "2001:db8::1", 0))
            receiver.addressResolved(IPv4Address("TCP", OWN.host, 0))
        receiver.resolutionComplete()


class DoctorTestCase(SynchronousTestCase):
    """A visit with everything around it under control."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.nameResolver = Names()
        self.pools = Pools(clock=NOW)
        self.skew = 0.0
        self.status: dict[str, Any] | StateError = StateError("nothing answers at /x")
        self.probed: list[tuple[Address, NodeId]] = []
        self.probe_error: LinkError | None = None
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch)
        self.state_dir = os.path.join(scratch, "state")

    def answers(self, **answers: Answer) -> None:
        """What each pool answers, by its name."""
        for name, answer in answers.items():
            self.pools.answers["127.0.0.1", url(name).port] = answer

    def node(self) -> str:
        """A state directory with the key of node 1."""
        state = StateDirectory.open(self.state_dir)
        state.write_key("node.key", key(1).seed)
        state.close()
        return self.state_dir

    async def read_status(self, reactor: Any, state_dir: str) -> dict[str, Any]:
        """What runs in the state directory."""
        if isinstance(self.status, StateError):
            raise self.status
        return self.status

    def probe(self, reactor: Any, address: Address, node_id: NodeId, **options: Any) -> Deferred[None]:
        """A link to a node."""
        self.probed.append((address, node_id))
        return succeed(None) if self.probe_error is None else fail(self.probe_error)

    def doctor(self, *pools: PoolURL, **options: Any) -> Doctor:
        """A doctor who has not begun."""
        return Doctor(
            self.clock, pools, fetch=self.pools.fetch, probe=self.probe, ask_status=self.read_status,
            wall_clock=lambda: NOW + self.skew, rng=bytes, **options,
        )  # fmt: skip

    def examine(self, *pools: PoolURL, **options: Any) -> Doctor:
        """A doctor who has looked at everything."""
        doctor = self.doctor(*pools, **options)
        self.successResultOf(Deferred.fromCoroutine(doctor.examine()))
        return doctor

    def said(self, doctor: Doctor, subject: str, verdict: Verdict | None = None) -> list[str]:
        """What was said of one thing."""
        found: Iterable[Finding] = doctor.findings.found
        return [one.what for one in found if one.subject == subject and verdict in (None, one.verdict)]

    def one(self, doctor: Doctor, subject: str, verdict: Verdict) -> Finding:
        """The only finding of this kind; one that is not ok has a cause and a remedy."""
        [found] = [one for one in doctor.findings.found if (one.subject, one.verdict) == (subject, verdict)]
        if verdict is not Verdict.OK:
            self.assertTrue(found.cause and found.remedy)
        return found

    def healthy(self, doctor: Doctor) -> None:
        """Nothing is wrong but, perhaps, with this machine."""
        here = ("file descriptors", "cipher", "state directory")
        bad = [one for one in doctor.findings.found if one.verdict is not Verdict.OK and one.subject not in here]
        self.assertEqual(bad, [])
        self.assertEqual(doctor.findings.status, 0)


class PoolTests(DoctorTestCase):
    """One pool after the other."""

    def test_all_is_well(self) -> None:
        """Three pools that agree."""
        names = ("a", "b", "c")
        self.answers(**{name: signed(name, NODES) for name in names})
        doctor = self.examine(*map(url, names))
        self.healthy(doctor)
        for name in names:
            clock, listing = self.said(doctor, f"pool 127.0.0.1:{url(name).port}")
            self.assertIn("agree", clock)
            self.assertIn("is valid: 12 nodes, signed 0 s ago, digest ", listing)
        self.assertEqual(self.said(doctor, "pools"), ["all 3 that answered list the same 12 nodes"])
        self.assertIn("12 nodes that at least 2 of 3 pools list, digest ", self.said(doctor, "network")[0])
        self.assertEqual(self.said(doctor, "nodes"), ["12 that can be guard or middle, 2 of them exits"])
        self.assertEqual(self.said(doctor, "port 443"), ["2 exits accept it"])
        self.assertEqual(self.said(doctor, "paths"), ["one of 3 hops to port 443 can be chosen"])

    def test_no_pool_is_named(self) -> None:
        """There is a machine to look at all the same."""
        self.healthy(self.examine())

    def test_everything_is_down(self) -> None:
        """Each is named, and that is no reason to fail otherwise."""
        self.pools.clock = None
        doctor = self.examine(url("a"), url("b"))
        for name in ("a", "b"):
            found = self.one(doctor, f"pool 127.0.0.1:{url(name).port}", Verdict.PROBLEM)
            self.assertIn("cannot be asked", found.what)
        self.assertIn("0 of 2 pools gave a listing, 2 must", self.one(doctor, "pools", Verdict.PROBLEM).what)
        self.assertEqual(doctor.findings.status, 3)

    def test_what_is_no_listing(self) -> None:
        """Another status, another key, garbage, an expired one: each is refused, and has a remedy."""
        old = {"sequence": (NOW - 90_000) * 1000, "valid_after": NOW - 90_000, "fresh_until": NOW - 80_000,
               "valid_until": NOW - 79_200}  # fmt: skip
        late = {"sequence": (NOW - 4000) * 1000, "valid_after": NOW - 4000, "fresh_until": NOW - 2200,
                "valid_until": NOW + 6800}  # fmt: skip
        for answer, word, verdict in (
            (404, "status 404", Verdict.PROBLEM), (signed("other", NODES), "not signed by", Verdict.PROBLEM),
            (b"hello", "has 65 to", Verdict.PROBLEM), (b"x" * 500, "not signed by", Verdict.PROBLEM),
            (signed("a", NODES, **old), "has expired", Verdict.PROBLEM),
            (signed("a", NODES, **late), "is not fresh", Verdict.WARNING),
        ):  # fmt: skip
            self.answers(a=answer)
            doctor = self.examine(url("a"))
            self.assertIn(word, self.one(doctor, "pool 127.0.0.1:8097", verdict).what)
            self.assertEqual(doctor.findings.status, 3 if verdict is Verdict.PROBLEM else 0)

    def test_a_url_without_a_key(self) -> None:
        """The key that is shown now is named."""
        self.answers(a=signed("a", NODES))
        found = self.one(self.examine(url("a", keyed=False)), "pool 127.0.0.1:8097", Verdict.WARNING)
        self.assertIn(str(key("a").pool_id), found.what)

    def test_clocks(self) -> None:
        """A wrong clock is one finding, with direction and size; the rest is told all the same."""
        self.answers(a=signed("a", NODES), b=signed("b", NODES))
        for skew, word, verdict in ((90, "90 s ahead of", Verdict.WARNING), (-7200, "7200 s behind", Verdict.PROBLEM),
                                    (90_000, "90000 s ahead of", Verdict.PROBLEM)):  # fmt: skip
            self.skew = skew
            doctor = self.examine(url("a"), url("b"))
            found = self.one(doctor, "pool 127.0.0.1:8097", verdict)
            self.assertIn(word, found.what)
            self.assertEqual("beyond an hour no listing is used" in found.cause, verdict is Verdict.PROBLEM)
            self.assertEqual(len(self.said(doctor, "pools", Verdict.OK)), 1)
            self.assertEqual(doctor.findings.status, 3 if verdict is Verdict.PROBLEM else 0)

    def test_a_pool_that_breaks_the_library(self) -> None:
        """It is said as what it is, without a traceback, and the other things are looked at."""
        self.answers(a=ZeroDivisionError("a bug"))
        doctor = self.examine(url("a"), state_dir=self.node())
        said = self.one(doctor, "doctor", Verdict.PROBLEM).what
        self.assertEqual(said, "a look failed: ZeroDivisionError('a bug')")
        self.assertEqual(len(self.said(doctor, "status")), 1)

    def test_silence(self) -> None:
        """What nobody answers ends in time, and what was found by then is told."""
        self.answers(a=Deferred(), b=signed("b", NODES))
        doctor = self.doctor(url("a"), url("b"), state_dir=self.node())
        visit = Deferred.fromCoroutine(doctor.examine())
        self.clock.advance(ALL_TIME - 1)
        self.assertNoResult(visit)
        self.clock.advance(1)
        self.successResultOf(visit)
        self.assertIn("not everything", self.one(doctor, "time", Verdict.PROBLEM).what)
        self.assertEqual(self.said(doctor, "doctor"), [])
        self.assertEqual(len(self.said(doctor, "pool 127.0.0.1:8098")), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AgreementTests(DoctorTestCase):
    """Several pools together (SECURITY N1, N9)."""

    def test_one_pool(self) -> None:
        """It works, and whoever runs it is all there is."""
        self.answers(a=signed("a", NODES))
        doctor = self.examine(url("a"))
        self.assertIn("only one", self.one(doctor, "pools", Verdict.WARNING).what)
        self.assertEqual(doctor.findings.status, 0)

    def test_pools_that_do_not_agree(self) -> None:
        """Who lacks what is said for each."""
        self.answers(a=signed("a", NODES), b=signed("b", NODES[:10]), c=signed("c", [*NODES[:11], document(99)]))
        found = self.one(self.examine(url("a"), url("b"), url("c")), "pools", Verdict.WARNING)
        self.assertIn("8098 lists 10, lacks 1 of the 11 in use, and has 0 that", found.what)
        self.assertIn("8099 lists 12, lacks 0 of the 11 in use, and has 1 that", found.what)
        self.assertIn("8097 lists 12, lacks 0 of the 11 in use, and has 1 that", found.what)

    def test_the_threshold(self) -> None:
        """Too few answers are a problem; the option changes how many are enough."""
        self.answers(a=signed("a", NODES))
        doctor = self.examine(url("a"), url("b"), url("c"))
        self.assertIn("1 of 3 pools gave a listing, 2 must", self.one(doctor, "pools", Verdict.PROBLEM).what)
        doctor = self.examine(url("a"), url("b"), url("c"), threshold=1)
        self.assertIn("at least 1 of 3", self.one(doctor, "network", Verdict.OK).what)


class PathTests(DoctorTestCase):
    """Nodes, exits and paths (SECURITY P1)."""

    def test_a_port_without_exits(self) -> None:
        """The option chooses the port."""
        self.answers(a=signed("a", NODES), b=signed("b", NODES))
        doctor = self.examine(url("a"), url("b"), port=25)
        self.assertIn("no exit accepts it", self.one(doctor, "port 25", Verdict.PROBLEM).what)
        self.assertEqual(self.examine(url("a"), url("b"), port=80).findings.status, 0)

    def test_too_few_nodes(self) -> None:
        """Two nodes are no path of three hops, and nine are few."""
        for count, problems in ((2, 1), (9, 0)):
            self.answers(a=signed("a", NODES[:count]), b=signed("b", NODES[:count]))
            doctor = self.examine(url("a"), url("b"))
            self.assertEqual(len(self.said(doctor, "paths", Verdict.PROBLEM)), problems)
            self.assertIn(f"{count} are few", self.one(doctor, "nodes", Verdict.WARNING).what)

    def test_one_subnet(self) -> None:
        """Nodes that are all in one place are no path either."""
        near = [document(f"n{place}", policy=WEB, address=Address(bytes([20, 1, 1, place]), 1)) for place in range(12)]
        self.answers(a=signed("a", near), b=signed("b", near))
        self.assertIn("subnet", self.one(self.examine(url("a"), url("b")), "paths", Verdict.PROBLEM).remedy)

    def test_a_test_network(self) -> None:
        """It is told as what it is."""
        for name in ("a", "b"):
            self.answers(**{name: signed(name, NODES, parameters={TEST_NETWORK: True})})
        found = self.one(self.examine(url("a"), url("b")), "network", Verdict.WARNING)
        self.assertIn("test network", found.what)


class NodeTests(DoctorTestCase):
    """One's own node."""

    def setUp(self) -> None:
        DoctorTestCase.setUp(self)
        self.answers(a=signed("a", NODES), b=signed("b", NODES))
        self.both = (url("a"), url("b"))

    def test_listed_and_reached(self) -> None:
        """Its identity is that of its key, its address that of the listings."""
        doctor = self.examine(*self.both, state_dir=self.node())
        self.healthy(doctor)
        self.assertEqual(self.probed, [(OWN, key(1).node_id)])
        self.assertIn(f"listed by all 2 pools, as node1 at {OWN}", self.said(doctor, "own node"))
        self.assertIn("accept *:443", self.said(doctor, "own node")[1])
        self.assertIn(f"a link to {OWN} opens", self.said(doctor, "own port")[0])

    def test_found_by_its_address(self) -> None:
        """Without a key, whoever is listed there; a name is looked up, and IPv4 comes first."""
        for host in (OWN.host, "node.example.org"):
            doctor = self.examine(*self.both, advertise=Advertised(host, OWN.port))
            self.healthy(doctor)
        self.assertEqual(self.probed, [(OWN, key(1).node_id)] * 2)

    def test_others_name_it(self) -> None:
        """A node that has it in its family, and nodes that are garbage, are not taken for it."""
        others = [b"x" * 64 + key(1).node_id.raw, document(20, family=[1]), *NODES]
        self.answers(a=signed("a", others), b=signed("b", others))
        doctor = self.examine(*self.both, state_dir=self.node())
        self.assertIn(f"listed by all 2 pools, as node1 at {OWN}", self.said(doctor, "own node"))

    def test_not_listed(self) -> None:
        """By none, and by one of two; a node that is not listed and not reached is a problem."""
        self.answers(a=signed("a", NODES[1:]))
        doctor = self.examine(*self.both, state_dir=self.node(), threshold=1)
        self.assertIn("not listed by pool 127.0.0.1:8097", self.one(doctor, "own node", Verdict.WARNING).what)
        self.answers(b=signed("b", NODES[1:]))
        self.probe_error = LinkError("connection refused")
        doctor = self.examine(*self.both, state_dir=self.node(), advertise=Advertised(OWN.host, OWN.port))
        self.assertIn("no pool lists it", self.one(doctor, "own node", Verdict.PROBLEM).what)
        self.assertIn("connection refused", self.one(doctor, "own port", Verdict.PROBLEM).what)
        self.assertEqual(doctor.findings.status, 3)

    def test_reached_by_pools_only(self) -> None:
        """A router that does not lead back inside is no problem of the node."""
        self.probe_error = LinkError("no answer")
        doctor = self.examine(*self.both, state_dir=self.node())
        self.assertIn("no answer", self.one(doctor, "own port", Verdict.WARNING).what)
        self.assertEqual(doctor.findings.status, 0)

    def test_another_address(self) -> None:
        """What is advertised and what is listed differ; the advertised one is tried."""
        doctor = self.examine(*self.both, state_dir=self.node(), advertise=Advertised("20.9.9.9", 1))
        self.assertIn("20.9.9.9:1", self.one(doctor, "own node", Verdict.PROBLEM).what)
        self.assertEqual(self.probed, [(Address.parse("20.9.9.9", 1), key(1).node_id)])

    def test_an_old_descriptor(self) -> None:
        """A node that runs would have signed a new one."""
        old = [document(1, policy=WEB, published=NOW - 24 * 3600), *NODES[1:]]
        self.answers(a=signed("a", old), b=signed("b", old))
        found = self.one(self.examine(*self.both, state_dir=self.node()), "own node", Verdict.WARNING)
        self.assertIn("24 h old", found.what)

    def test_what_is_not_known(self) -> None:
        """Neither address nor identity are guessed; a name that leads nowhere is a problem."""
        self.answers(a=signed("a", NODES[1:]), b=signed("b", NODES[1:]))
        doctor = self.examine(*self.both, state_dir=self.node())
        self.assertIn("address of the node is not known", self.one(doctor, "own port", Verdict.WARNING).what)
        doctor = self.examine(*self.both, advertise=Advertised("20.9.9.9", 1))
        self.assertIn("id of the node is not known", self.one(doctor, "own port", Verdict.WARNING).what)
        doctor = self.examine(*self.both, advertise=Advertised("nowhere.example", 1))
        self.assertIn("nowhere.example does not resolve", self.one(doctor, "own node", Verdict.PROBLEM).what)
        self.assertEqual(self.probed, [])

    def test_without_pools(self) -> None:
        """There is nobody to ask."""
        self.assertIn("none is named", self.one(self.examine(state_dir=self.node()), "pools", Verdict.WARNING).what)


class StatusTests(DoctorTestCase):
    """What runs in the state directory."""

    def test_nothing_runs(self) -> None:
        """That is no problem."""
        silent = "nothing runs with this state directory"
        self.assertEqual(self.said(self.examine(state_dir=self.state_dir), "status", Verdict.OK), [silent])
        # What a killed process leaves.
        self.listen()
        self.status = self.silence(ConnectionRefusedError())
        self.assertEqual(self.said(self.examine(state_dir=self.state_dir), "status", Verdict.OK), [silent])

    def listen(self) -> None:
        """There is a socket in the state directory."""
        StateDirectory.open(self.state_dir).close()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.join(self.state_dir, STATUS_SOCKET))

    def silence(self, cause: Exception | None) -> StateError:
        """What ``read_status`` raises."""
        error = StateError("it does not work")
        error.__cause__ = cause
        return error

    def test_what_runs_and_hangs(self) -> None:
        """It has the lock, takes the connection, and says nothing, or something else: that is a problem."""
        self.listen()
        running = StateDirectory.open(self.state_dir)
        for cause in (TimeoutError(), None):
            self.status = self.silence(cause)
            doctor = self.examine(state_dir=self.state_dir)
            self.assertIn("does not answer as it should", self.one(doctor, "status", Verdict.PROBLEM).what)
            self.assertEqual(doctor.findings.status, 3)
        running.close()
        found = self.one(self.examine(state_dir=self.state_dir), "status", Verdict.PROBLEM)
        self.assertIn("is somebody's", found.what)

    def test_what_runs_without_a_socket(self) -> None:
        """A service goes on when it cannot make one, so this is a warning."""
        self.addCleanup(StateDirectory.open(self.state_dir).close)
        doctor = self.examine(state_dir=self.state_dir)
        self.assertIn("has no status: nothing answers at /x", self.one(doctor, "status", Verdict.WARNING).what)

    def test_a_state_directory_that_is_refused(self) -> None:
        """Then nothing is known of what runs."""
        os.mkdir(self.state_dir, 0o755)
        doctor = self.examine(state_dir=self.state_dir)
        self.assertIn("cannot be told", self.one(doctor, "status", Verdict.WARNING).what)

    def test_a_client_that_was_ready(self) -> None:
        """That it works no more is a problem, and a report for others does not name its guard."""
        reason = "hop 1 of 3, node bravo: no answer"
        self.status = {"ready": False, "percent": 100, "reason": reason, "summary": "x", "warnings": ["guard bravo"]}
        doctor = self.examine(state_dir=self.state_dir)
        self.assertIn(reason, self.one(doctor, "status", Verdict.PROBLEM).what)
        self.assertEqual(doctor.findings.status, 3)
        self.assertNotIn("bravo", doctor.findings.to_json())
        self.status["percent"] = 75
        doctor = self.examine(state_dir=self.state_dir)
        self.assertEqual(doctor.findings.status, 0)
        self.assertNotIn("bravo", doctor.findings.to_json())

    def test_the_files_of_what_runs(self) -> None:
        """Not those of the shell in which the doctor was called."""
        self.status = {"files_most": 123}
        doctor = self.examine(state_dir=self.state_dir)
        self.assertIn("may have 123", self.one(doctor, "file descriptors", Verdict.WARNING).what)

    def test_a_client_that_is_not_ready(self) -> None:
        """With its own reason, and what it asks people to look at."""
        self.status = {"ready": False, "reason": "too few nodes", "summary": "choosing", "warnings": ["guard x"]}
        doctor = self.examine(state_dir=self.state_dir)
        said = self.said(doctor, "status", Verdict.WARNING)
        self.assertEqual(said, ["the client that runs is not ready: too few nodes", "guard x"])

    def test_a_node_that_is_refused(self) -> None:
        """With our reason and the pool's own words."""
        self.status = {"pools": [
            {"pool": "p:1", "lists_this_node": False, "error": "private", "says": "no"},
            {"pool": "p:2", "lists_this_node": True}, {"pool": "p:3", "lists_this_node": None},
        ]}  # fmt: skip
        found = self.one(self.examine(state_dir=self.state_dir), "own node", Verdict.PROBLEM)
        self.assertEqual((found.what, found.cause), ("p:1 does not list it", "private; the pool says: no"))

    def test_a_loop_that_is_late(self) -> None:
        """A machine with too little time (SECURITY section 3, case 30)."""
        self.status = {"ready": True, "loop_lag": 0.3}
        self.healthy(self.examine(state_dir=self.state_dir))
        self.status = {"ready": True, "loop_lag": 2.5}
        found = self.one(self.examine(state_dir=self.state_dir), "status", Verdict.WARNING)
        self.assertIn("2.5 s late", found.what)
        self.status = {"loop_lag": 0.0, "worker_lag": 3.5}
        found = self.one(self.examine(state_dir=self.state_dir), "status", Verdict.WARNING)
        self.assertIn("3.5 s late", found.what)


class NetworkTests(SynchronousTestCase):
    """A real pool and real nodes."""

    def test_a_network_and_one_of_its_nodes(self) -> None:
        """The pool is asked over HTTP, the node is reached with a link."""
        network = LocalNetwork(nodes=3)
        self.addCleanup(network.close)
        network.start_servers()
        node = network.nodes[0]

        def look(**options: Any) -> Doctor:
            doctor = Doctor(
                network.reactor, (network.pool.url,), port=80, advertise=Advertised(node.ip, node.port),
                wall_clock=network.pool.wall_clock, rng=bytes, **options,
            )  # fmt: skip
            network.success(Deferred.fromCoroutine(doctor.examine()))
            return doctor

        doctor = look()
        self.assertEqual(doctor.findings.status, 0, "\n".join(doctor.findings.lines()))
        self.assertIn(node.node_id.short, "\n".join(doctor.findings.lines()))
        network.kill(network.pool)
        self.assertEqual(look().findings.status, 3)
