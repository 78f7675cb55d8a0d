"""Entry points of what is read as text: addresses, keys, pool URLs, exit policies, destinations, endpoint strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock

from torpydo.apps.destinations import Destination, judge
from torpydo.client import Client, SharedClients, TorpydoStringParser
from torpydo.client.destinations import check_destination
from torpydo.crypto import NodeId, PoolId
from torpydo.directory import ExitPolicy, PoolURL, is_private
from torpydo.errors import BadKey, ConfigurationError, ExitPolicyRefused, PoolURLError, ResolveFailed
from torpydo.node.resolver import parse_literal
from torpydo.testing.fuzz.fixed import NODE, POOL
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import Address, check_host

__all__ = ["TARGETS"]


def _text(data: bytes) -> str:
    """As a command line, a file or MessagePack gives it: any character, also none of Unicode's."""
    return data.decode("utf-8", "surrogateescape")


def _run_address(data: bytes) -> None:
    """An IP address with its port."""
    try:
        address = Address.parse_text(_text(data))
    except ValueError:
        return
    require(Address.parse_text(str(address)) == address, f"{address} is read as another one")
    require(Address.parse(address.host, address.port) == address, f"{address} is read as another one")


def _run_key(data: bytes) -> None:
    """A key in base32."""
    try:
        key = NodeId.parse(_text(data))
    except BadKey:
        return
    require(NodeId.parse(str(key)) == key and len(key.raw) == 32, "a key is read as another one")


def _run_pool_url(data: bytes) -> None:
    """A pool's URL."""
    try:
        url = PoolURL.parse(_text(data))
    except PoolURLError:
        return
    require(PoolURL.parse(str(url)) == url, f"{url} is read as another one")
    require(str(url).isascii() and str(url).isprintable(), f"{url!r} has characters that it must not have")
    require(url.pool_id is not None or url.is_private_or_loopback, f"{url} needs a key")


_PRIVATE: Final = (b"\x7f\0\0\1", b"\x0a\1\2\3", b"\xa9\xfe\xa9\xfe", bytes(16), bytes(10) + b"\xff\xff\x7f\0\0\1")
_PUBLIC: Final = (b"\x08\x08\x08\x08", b"\x2a" + bytes(15))


def _run_policy(data: bytes) -> None:
    """An exit policy, and what follows from it."""
    try:
        policy = ExitPolicy.parse(_text(data))
    except ConfigurationError:
        return
    require(ExitPolicy.parse(str(policy)) == policy, f"{policy} is read as another one")
    for port in (1, 25, 443, 65535):
        opened = [ip for ip in (*_PRIVATE, *_PUBLIC) if policy.allows(ip, port)]
        require(policy.is_open or not opened, f"{policy} opens {opened} although it is closed")
        require(policy.may_allow_port(port) or not opened, f"{policy} opens {opened}, but nothing on that port")
        require(policy.may_allow_port(port) or not policy.may_allow_port(port, wide=True), "wide, but not open")
        if opened and is_private(opened[0]):
            named = any(rule.accept and rule.names_private for rule in policy.rules)
            require(named, f"{policy} opens {opened} without naming it")


def _run_destination(data: bytes) -> None:
    """A host as an application writes it: to a proxy, and to the client's own endpoint."""
    host = _text(data)
    verdict = judge(host, 443, allow_private=False)
    try:
        told = check_destination(host, 443, private_allowed=False)
    except (ResolveFailed, ExitPolicyRefused):
        told = None
    if told is not None:
        # What the client tells an exit is something that an exit reads.
        check_host(told)
        ip = parse_literal(told)
        require(ip is None or not is_private(ip), f"{told!r} is private, and told to an exit")
        require(not told.lower().endswith((".onion", ".exit", ".i2p", ".local")), f"an exit is asked for {told!r}")
    if isinstance(verdict, Destination):
        require(judge(verdict.host, 443, allow_private=False) == verdict, f"{verdict.host!r} is judged in another way")
        require(told is not None, f"the proxies take {verdict.host!r}, and the client does not")


def _no_client(*ignored: object, **options: object) -> Deferred[Client]:
    return fail(ConfigurationError("there is no client here"))


_OPTIONS: Final = ("hops", "pool", "stateDir", "isolation")


def _run_endpoint(data: bytes) -> None:
    """``torpydo:HOST:PORT:hops=:pool=:stateDir=:isolation=``, each part on a line of its own."""
    host, port, *words = _text(data).split("\n") if b"\n" in data else ("", _text(data))
    options = {name: word for name, word in zip(_OPTIONS, words, strict=False) if word}
    clients, reactor = SharedClients(_no_client), MemoryReactorClock()
    parser = TorpydoStringParser(clients)
    try:
        endpoint: Any = parser.parseStreamClient(reactor, host, port, **options)
    except ConfigurationError:
        return
    require(IStreamClientEndpoint.providedBy(endpoint), "no endpoint came out")
    require(1 <= int(port) <= 65535 and len(clients) == 1, "an endpoint without a client")


def _run_literal(data: bytes) -> None:
    """An IP literal in its plain spelling, as an exit reads it."""
    text = data.decode("ascii", "replace")
    ip = parse_literal(text)
    require(ip is None or len(ip) in (4, 16), f"{text!r} is an address of no length that there is")


def _texts(*texts: str) -> Iterable[bytes]:
    return [text.encode() for text in texts]


_KEY: Final = str(PoolId(POOL.public))

TARGETS: Final = (
    Target("text-address", _run_address, lambda: _texts("1.2.3.4:80", "[2a00::1]:65535", "[::ffff:1.2.3.4]:1"), 64),
    Target("text-key", _run_key, lambda: _texts(str(NODE.node_id), str(NODE.node_id).upper()), 80),
    Target("text-pool-url", _run_pool_url, lambda: _texts(
        f"http://pool.example.org/#{_KEY}", f"http://[::1]:8080/#{_KEY}", "http://127.0.0.1:8080/", "http://0x7f.1/",
        "http://127.0.0.1:65536/", f"http://127.0.0.1:0/#{_KEY}", f"http://127.0.0.1/#{_KEY[:-1]}", "http://127.0.0.1/#a",
    ), 600),
    Target("text-policy", _run_policy, lambda: _texts(
        "accept *:443, accept *:80", "reject 10.0.0.0/8:*\naccept *:1-65535", "accept 127.0.0.0/8:*",
        "accept [2a00::]/16:80-443, reject [2001:db8::1]:*, accept *:25", "reject *:*",
    ), 6100),
    Target("text-destination", _run_destination, lambda: _texts(
        "example.org", "EXAMPLE.org.", "b\u00fccher.example", "10.0.0.1", "[2a00::1]", "0x7f.1", "x.onion",
        "\uff4fnion", "localhost", "8.8.8.8",
    ), 400),
    Target("text-endpoint", _run_endpoint, lambda: _texts(
        f"example.org\n443\n3\nhttp://pool.example.org/#{_KEY},http://127.0.0.1/\nstate\nme",
        "example.org\n443\n9\nhttp://127.0.0.1/", "example.org\n443\n\nhttp://127.0.0.1/", "example.org\n443",
    ), 400),
    Target("text-literal", _run_literal, lambda: _texts("1.2.3.4", "[::1]", "fe80::1%eth0"), 64),
)  # fmt: skip
