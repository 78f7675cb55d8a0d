"""Tests of torpydo.cli.bench.torrc."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.torrc import Authority, Relay, authority_torrc, client_torrc, relay_torrc

AUTHORITIES = [
    Authority(f"auth{number}", 20_000 + number, 21_000 + number, f"{number}" * 40, f"{number + 4}" * 40)
    for number in range(3)
]
RELAY = Relay("relay0", 22_000, 22_000)
PATH = ["A" * 40, "B" * 40, "C" * 40]


def all_torrcs(tuned: bool = False) -> list[str]:
    """One of each kind."""
    return [
        authority_torrc(AUTHORITIES[0], AUTHORITIES, "/d/auth0", "/d/resolv.conf", tuned=tuned),
        relay_torrc(RELAY, AUTHORITIES, "/d/relay0", "/d/resolv.conf", tuned=tuned),
        client_torrc(9050, "/d/control", PATH, AUTHORITIES, "/d/client", tuned=tuned),
    ]


class EveryTorrcTests(SynchronousTestCase):
    """What all processes have in common."""

    def test_nothing_outside_is_contacted(self) -> None:
        """Every connection begins at 127.0.0.1, and the network's own authorities are the only ones."""
        for text in all_torrcs():
            lines = text.splitlines()
            self.assertIn("OutboundBindAddress 127.0.0.1", lines)
            self.assertIn("TestingTorNetwork 1", lines)
            self.assertIn("UseDefaultFallbackDirs 0", lines)
            known = [line for line in lines if line.startswith("DirAuthority ")]
            self.assertEqual(known, [authority.line for authority in AUTHORITIES])

    def test_nothing_listens_outside_of_loopback(self) -> None:
        """Each port names its address, or is none."""
        for text in all_torrcs():
            ports = [line.split() for line in text.splitlines() if line.split()[0].endswith("Port")]
            self.assertEqual([port for _, port, *_ in ports if not port.startswith("127.0.0.1:") and port != "0"], [])

    def test_only_tuned_ones_change_the_scheduler(self) -> None:
        """The default is tor's own."""
        self.assertEqual([text.count("Schedulers") for text in all_torrcs()], [0, 0, 0])
        self.assertEqual([text.count("Schedulers Vanilla\n") for text in all_torrcs(tuned=True)], [1, 1, 1])


class AuthorityTorrcTests(SynchronousTestCase):
    """Of a directory authority."""

    def test_the_line_by_which_others_know_it(self) -> None:
        """As tor's manual has it."""
        self.assertEqual(
            AUTHORITIES[1].line,
            f"DirAuthority auth1 orport=20001 no-v2 v3ident={'5' * 40} 127.0.0.1:21001 {'1' * 40}",
        )

    def test_it_is_no_exit(self) -> None:
        """It carries nobody's traffic."""
        self.assertIn("ExitPolicy reject *:*\n", all_torrcs()[0])


class RelayTorrcTests(SynchronousTestCase):
    """Of a relay."""

    def ports(self, relay: Relay) -> list[str]:
        """The lines about its port."""
        text = relay_torrc(relay, AUTHORITIES, "/d/relay0", "/d/resolv.conf", tuned=False)
        return [line for line in text.splitlines() if line.startswith("ORPort ")]

    def test_it_is_an_exit_that_clients_see_as_one(self) -> None:
        """To private addresses too; that only those of this machine are reached is the work of OutboundBindAddress."""
        lines = all_torrcs()[1].splitlines()
        self.assertIn("ExitPolicyRejectPrivate 0", lines)
        self.assertEqual([line for line in lines if line.startswith("ExitPolicy ")], ["ExitPolicy accept *:*"])
        self.assertIn("OutboundBindAddress 127.0.0.1", lines)

    def test_without_a_delay_line_it_has_one_port(self) -> None:
        """It advertises where it listens."""
        self.assertEqual(self.ports(RELAY), ["ORPort 127.0.0.1:22000"])

    def test_with_a_delay_line_it_advertises_the_line(self) -> None:
        """And listens where the line forwards to."""
        self.assertEqual(
            self.ports(attrs.evolve(RELAY, advertised=23_000)),
            ["ORPort 127.0.0.1:23000 NoListen", "ORPort 127.0.0.1:22000 NoAdvertise"],
        )


class ClientTorrcTests(SynchronousTestCase):
    """Of the client."""

    def test_every_circuit_has_the_same_path(self) -> None:
        """The three relays, each in its place, and no authority."""
        lines = all_torrcs()[2].splitlines()
        wanted = [f"EntryNodes {'A' * 40}", f"MiddleNodes {'B' * 40}", f"ExitNodes {'C' * 40}"]
        self.assertEqual([line for line in lines if line in wanted], wanted)
        self.assertIn(f"ExcludeNodes {'0' * 40},{'1' * 40},{'2' * 40}", lines)

    def test_user_names_are_isolated(self) -> None:
        """As many circuits as names."""
        self.assertIn("SocksPort 127.0.0.1:9050 IsolateSOCKSAuth", all_torrcs()[2].splitlines())
