"""The configuration of each process of a private tor network: text only, so that it can be read and tested as it is.

The network has no way out: every connection is made from 127.0.0.1, names are asked of a server that is not there, and
the only authorities are its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = [
    "VOTING_DELAY",
    "VOTING_INTERVAL",
    "Authority",
    "Relay",
    "authority_torrc",
    "client_torrc",
    "relay_torrc",
]

# Seconds. The first listing is valid from a multiple of the interval on; its vote begins 2 * VOTING_DELAY before, and
# a relay that the authorities do not know then is not in it. Two seconds is the least that tor accepts.
VOTING_INTERVAL = 10
VOTING_DELAY = 2


@attrs.frozen
class Authority:
    """A directory authority."""

    name: str
    or_port: int
    dir_port: int
    fingerprint: str
    """Of its identity as a relay: 40 hex digits."""
    v3ident: str
    """Of its identity as an authority: 40 hex digits."""

    @property
    def line(self) -> str:
        """How the others know it."""
        return (
            f"DirAuthority {self.name} orport={self.or_port} no-v2 v3ident={self.v3ident}"
            f" 127.0.0.1:{self.dir_port} {self.fingerprint}"
        )


@attrs.frozen
class Relay:
    """A relay, which is an exit to this machine."""

    name: str
    port: int
    """On which it listens."""
    advertised: int
    """Which others connect to: *port*, or that of the delay line before it."""


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _common(authorities: Sequence[Authority], data_directory: str, tuned: bool) -> list[str]:
    return [
        "TestingTorNetwork 1",
        *(authority.line for authority in authorities),
        "UseDefaultFallbackDirs 0",
        "Address 127.0.0.1",
        "AddressDisableIPv6 1",
        "OutboundBindAddress 127.0.0.1",
        f"DataDirectory {data_directory}",
        "Log notice stdout",
        "AvoidDiskWrites 1",
        # With three relays no two circuits are disjoint, so every set of linked circuits would fail and be tried again.
        "ConfluxEnabled 0",
        # KIST, the default, writes to a connection every 10 ms at the most.
        *(["Schedulers Vanilla"] if tuned else []),
    ]


def _served(name: str, resolv_conf: str) -> list[str]:
    return [
        f"Nickname {name}",
        "ContactInfo none",
        "SocksPort 0",
        "ShutdownWaitLength 0",
        "AssumeReachable 1",
        f"ServerDNSResolvConfFile {resolv_conf}",
        "ServerDNSAllowBrokenConfig 1",
        "ServerDNSDetectHijacking 0",
    ]


def authority_torrc(
    authority: Authority, authorities: Sequence[Authority], data_directory: str, resolv_conf: str, *, tuned: bool
) -> str:
    """Of one of the *authorities*; it carries nobody's traffic.

    :param resolv_conf: a file that names no server
    :param tuned: write without waiting
    """
    return _text([
        *_common(authorities, data_directory, tuned),
        *_served(authority.name, resolv_conf),
        f"ORPort 127.0.0.1:{authority.or_port}",
        f"DirPort 127.0.0.1:{authority.dir_port}",
        "ExitPolicy reject *:*",
        "AuthoritativeDirectory 1",
        "V3AuthoritativeDirectory 1",
        f"TestingV3AuthInitialVotingInterval {VOTING_INTERVAL}",
        f"TestingV3AuthInitialVoteDelay {VOTING_DELAY}",
        f"TestingV3AuthInitialDistDelay {VOTING_DELAY}",
        # The listings after the first disturb nothing that is measured.
        "V3AuthVotingInterval 30 minutes",
        "V3AuthVoteDelay 20",
        "V3AuthDistDelay 20",
        "TestingDirAuthVoteExit *",
        "TestingDirAuthVoteGuard *",
        "TestingMinExitFlagThreshold 0",
    ])


def relay_torrc(
    relay: Relay, authorities: Sequence[Authority], data_directory: str, resolv_conf: str, *, tuned: bool
) -> str:
    """Of a relay."""
    ports = [f"ORPort 127.0.0.1:{relay.port}"]
    if relay.advertised != relay.port:
        ports = [f"ORPort 127.0.0.1:{relay.advertised} NoListen", f"ORPort 127.0.0.1:{relay.port} NoAdvertise"]
    return _text([
        *_common(authorities, data_directory, tuned),
        *_served(relay.name, resolv_conf),
        *ports,
        "ExitRelay 1",
        "ExitPolicyRejectPrivate 0",
        # Clients see a summary, which leaves private addresses out: an exit to these alone would look closed. Nothing
        # else can be reached from the address that connections are made from.
        "ExitPolicy accept *:*",
    ])


def client_torrc(
    socks_port: int,
    control_socket: str,
    path: Sequence[str],
    authorities: Sequence[Authority],
    data_directory: str,
    *,
    tuned: bool,
) -> str:
    """Of the client.

    :param control_socket: a path in a private directory, which is all that guards it
    :param path: the fingerprints of the three relays: every circuit goes through them, in this order
    """
    guard, middle, exit = path
    return _text([
        *_common(authorities, data_directory, tuned),
        f"SocksPort 127.0.0.1:{socks_port} IsolateSOCKSAuth",
        f"ControlSocket {control_socket}",
        # Each its own place: where tor draws the exit first, it may be the only guard, and no path is left.
        f"EntryNodes {guard}",
        f"MiddleNodes {middle}",
        f"ExitNodes {exit}",
        f"ExcludeNodes {','.join(authority.fingerprint for authority in authorities)}",
        # With whole descriptors tor would see that the destination has the address of a relay, and use that as exit.
        "UseMicrodescriptors 1",
        # A user name keeps its circuit for as long as it is measured.
        "MaxCircuitDirtiness 1 day",
        "VanguardsLiteEnabled 0",
        "LearnCircuitBuildTimeout 0",
        "CircuitBuildTimeout 60",
        "MaxClientCircuitsPending 1024",
    ])
