"""Exit policies: which destinations an exit opens connections to (SECURITY E1, E3; docs/protocol-directory).

Exits are closed unless a rule opens them. A policy judges a resolved address; whoever connects asks
again with the very address it connects to. Called by node exits and by path.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

import attrs

from torpydo.directory.ranges import embeds_ipv4, private_range
from torpydo.errors import ConfigurationError

__all__ = ["ExitPolicy", "ExitRule"]

MAX_RULES: Final = 128
"""Rules in a policy: each is looked at for each stream (tor's usual policies have fewer than 50)."""
MAX_TEXT: Final = 6000
"""Characters of a policy, so that a descriptor of 20 kB holds the longest."""

_ALL_PORTS: Final = (1, 65535)
# Mail, Windows file sharing and file-sharing networks: what tor's default policy refuses, for the same
# reason: an exit that opens them gets its operator into trouble within a day.
_DEFAULT_REJECTED: Final = (
    (25, 25), (119, 119), (135, 139), (445, 445), (563, 563), (1214, 1214),
    (4661, 4666), (6346, 6429), (6699, 6699), (6881, 6999),
)  # fmt: skip
# A rule this wide makes an exit worth choosing for a destination whose address is not known yet.
_WIDE_PREFIX: Final = {0: 0, 4: 8, 16: 16}

_RULE: Final = re.compile(
    r"(accept|reject)\s+(?:(\*)|([0-9.]+)|\[([0-9a-f:.]+)\])(?:/([0-9]{1,3}))?:(?:(\*)|([0-9]{1,5})(?:-([0-9]{1,5}))?)",
    re.ASCII | re.IGNORECASE,
)


def _rejected_by_default(port: int) -> bool:
    return any(low <= port <= high for low, high in _DEFAULT_REJECTED)


@attrs.frozen
class ExitRule:
    """One rule of a policy.

    :ivar accept: accept or reject
    :ivar first: the first address of the network, empty for ``*``
    :ivar prefix: the network's prefix length, 0 for ``*``
    :ivar low: the first port
    :ivar high: the last port
    """

    accept: bool
    first: bytes
    prefix: int
    low: int
    high: int
    _last: bytes = attrs.field(init=False, eq=False, repr=False)
    names_private: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether the rule's network lies within a private range, so that it was meant."""

    def __attrs_post_init__(self) -> None:
        last, private = b"", False
        if self.first:
            last = ip_network((self.first, self.prefix)).broadcast_address.packed
            found = private_range(self.first)
            private = found is not None and last <= found[1]
        object.__setattr__(self, "_last", last)
        object.__setattr__(self, "names_private", private)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one rule.

        :raises ValueError: if it is not one; the text says what is wrong
        """
        match = _RULE.fullmatch(text)
        if match is None:
            raise ValueError("a rule looks like 'accept 10.0.0.0/8:80-443', 'reject [2001:db8::]/32:*', 'accept *:443'")
        verb, star, ip4, ip6, prefix_text, all_ports, low_text, high_text = match.groups()
        if star:
            if prefix_text:
                raise ValueError("'*' takes no prefix length")
            first, prefix = b"", 0
        else:
            network = ip_network(f"{ip4 or ip6}/{prefix_text}" if prefix_text else ip4 or ip6)
            if isinstance(network, IPv6Network) != bool(ip6):
                raise ValueError("an IPv6 address stands in brackets, an IPv4 address does not")
            first, prefix = network.network_address.packed, network.prefixlen
        low, high = _ALL_PORTS if all_ports else (int(low_text), int(high_text or low_text))
        if not 1 <= low <= high <= 65535:
            raise ValueError("ports are 1..65535, the lower one first")
        accept = verb.lower() == "accept"
        # They are never opened, and Python's versions do not write them in the same way.
        if first and embeds_ipv4(first):
            raise ValueError("IPv6 addresses that embed an IPv4 address are always refused; name the IPv4 network")
        return cls(accept, first, prefix, low, high)

    @property
    def is_total(self) -> bool:
        """Whether the rule matches everything."""
        return not self.first and (self.low, self.high) == _ALL_PORTS

    def matches_ip(self, ip: bytes) -> bool:
        """Whether *ip* is in the rule's network."""
        return not self.first or (len(ip) == len(self.first) and self.first <= ip <= self._last)

    def matches_port(self, port: int) -> bool:
        """Whether the rule speaks of *port*: one of the default rejects must be named to be accepted."""
        if not self.low <= port <= self.high:
            return False
        everything = (self.low, self.high) == _ALL_PORTS
        return not (self.accept and everything and not self.names_private and _rejected_by_default(port))

    def covers(self, other: ExitRule) -> bool:
        """Whether the network of *other* lies within this rule's."""
        return self.matches_ip(other.first) and self.prefix <= other.prefix

    @property
    def is_wide(self) -> bool:
        """Whether the rule opens so much of the public Internet that an unknown address is likely in it."""
        return not self.names_private and self.prefix <= _WIDE_PREFIX[len(self.first)]

    def __str__(self) -> str:
        host = "*"
        if self.first:
            address = ip_address(self.first)
            host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
            if self.prefix != address.max_prefixlen:
                host += f"/{self.prefix}"
        ports = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        if (self.low, self.high) == _ALL_PORTS:
            ports = "*"
        return f"{'accept' if self.accept else 'reject'} {host}:{ports}"


_REJECT_ALL: Final = "reject *:*"


@attrs.frozen
class ExitPolicy:
    """An exit policy: the first rule that matches decides, ``reject *:*`` is implied at the end.

    :ivar rules: the rules in order, without the implied one
    """

    rules: tuple[ExitRule, ...]

    @classmethod
    def closed(cls) -> Self:
        """The policy that opens nothing."""
        return cls(())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy: rules separated by commas or newlines.

        :raises ConfigurationError: naming the rule that is wrong
        """
        if len(text) > MAX_TEXT:
            raise ConfigurationError(f"an exit policy has at most {MAX_TEXT} characters, not {len(text)}")
        rules: list[ExitRule] = []
        for part in re.split(r"[,\n]", text):
            words = part.strip()
            if not words:
                continue
            try:
                rule = ExitRule.parse(words)
            except ValueError as error:
                raise ConfigurationError(f"the exit policy's rule {words!r} is wrong: {error}") from None
            rules.append(rule)
            if len(rules) > MAX_RULES:
                raise ConfigurationError(f"an exit policy has at most {MAX_RULES} rules")
        # What follows a "reject *:*" can never match: one policy, one spelling.
        end = next((place for place, rule in enumerate(rules) if rule.is_total and not rule.accept), len(rules))
        return cls(tuple(rules[:end]))

    def allows(self, ip: bytes, port: int) -> bool:
        """Whether a connection to this address may be opened.

        :param ip: 4 or 16 bytes, the address that will be connected to
        """
        if embeds_ipv4(ip):
            return False
        private = private_range(ip) is not None
        for rule in self.rules:
            if rule.matches_ip(ip) and rule.matches_port(port):
                if not rule.accept:
                    return False
                # A private destination is opened only by a rule that was written for one.
                if rule.names_private or not private:
                    return True
        return False

    def may_allow_port(self, port: int, *, wide: bool = False) -> bool:
        """Whether some destination with this port is accepted.

        :param wide: only if much of the public Internet is: for destinations whose address is not known
        """
        rejects: list[ExitRule] = []
        for rule in self.rules:
            if not rule.matches_port(port):
                continue
            if not rule.accept:
                rejects.append(rule)
            elif (rule.is_wide or not wide) and not any(reject.covers(rule) for reject in rejects):
                return True
        return False

    @property
    def is_open(self) -> bool:
        """Whether there is any rule that accepts."""
        return any(rule.accept for rule in self.rules)

    def __str__(self) -> str:
        return ", ".join(map(str, self.rules)) or _REJECT_ALL
