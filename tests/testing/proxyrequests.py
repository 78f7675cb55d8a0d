"""What applications ask proxies for, in every form and spelling: for the tests that nothing leaks on the way."""

from __future__ import annotations

from ipaddress import ip_address

SOCKS5 = b"\x05\x01\x00"
CONNECT, RESOLVE, RESOLVE_PTR = 0x01, 0xF0, 0xF1

ONION = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad"
NEVER = (
    f"{ONION}.onion",
    f"{ONION.upper()}.ONION",
    f"{ONION}.OnIoN",
    f"{ONION}.onion.",
    f"www.{ONION}.onion",
    f"a.b.{ONION}.onion.",
    "3g2upl4pq6kufc4m.onion",
    "onion",
    "onion.",
    ".onion",
    f"{ONION}.\uff4f\uff4e\uff49\uff4f\uff4e",
    f"{ONION}\u3002onion",
    f"{ONION}.onion\uff0e",
    "x.exit",
    "www.example.node.exit",
    "printer.local",
    "x.torpydo",
    "x.i2p",
)
"""Names that no exit may be asked for, in every spelling."""
BAD = (
    "",
    ".",
    "..",
    "a..b",
    "-",
    "a b.example",
    "a/b.example",
    "a\x00b.example",
    "a\nb.example",
    "a%00.example",
    "user@host.example",
    "[not-an-address]",
    "[::1",
    "::1%eth0",
    "300.300.300.300",
    "1.2.3.4.5",
    "x" * 64 + ".example",
    "a." * 126 + "toolong",
)
"""What is no name and no address."""


def socks5(host: str, port: int, command: int = CONNECT) -> bytes:
    """SOCKS5 with a name."""
    name = host.encode()[:255]
    return SOCKS5 + bytes((5, command, 0, 3, len(name))) + name + port.to_bytes(2, "big")


def socks5_address(literal: str, port: int, command: int = CONNECT) -> bytes:
    """SOCKS5 with an address."""
    packed = ip_address(literal).packed
    return SOCKS5 + bytes((5, command, 0, 1 if len(packed) == 4 else 4)) + packed + port.to_bytes(2, "big")


def socks4(literal: str, port: int) -> bytes:
    """SOCKS4, which has only addresses."""
    return b"\x04\x01" + port.to_bytes(2, "big") + ip_address(literal).packed + b"me\x00"


def socks4a(host: str, port: int) -> bytes:
    """SOCKS4a with a name."""
    return b"\x04\x01" + port.to_bytes(2, "big") + b"\x00\x00\x00\x01me\x00" + host.encode() + b"\x00"


def http_connect(host: str, port: int) -> bytes:
    """CONNECT, as browsers ask for https."""
    where = f"[{host}]:{port}" if host.count(":") > 1 else f"{host}:{port}"
    return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()


def http_get(host: str, port: int) -> bytes:
    """A page, as browsers ask for http."""
    where = f"[{host}]:{port}" if host.count(":") > 1 else f"{host}:{port}"
    return f"GET http://{where}/x HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode()


def socks_forms(host: str, port: int) -> list[bytes]:
    """A name, in each form that SOCKS has for one."""
    return [socks5(host, port), socks4a(host, port), socks5(host, 0, RESOLVE), socks5(host, port, 0x42)]


def http_forms(host: str, port: int) -> list[bytes]:
    """A name, in each form that HTTP has for one."""
    return [http_connect(host, port), http_get(host, port)]


def socks_refuses(answer: bytes) -> bool:
    """Whether that is an answer of SOCKS 4 or 5 that says no."""
    if answer.startswith(b"\x05\x00\x05"):
        return answer[3] != 0
    return answer[:1] == b"\x00" and answer[1:2] != b"\x5a"


def http_refuses(answer: bytes) -> bool:
    """Whether that is an answer of HTTP that says no."""
    return answer.startswith(b"HTTP/1.") and answer.split(b" ", 2)[1][:1] in (b"4", b"5")
