"""What a request to the proxy asks for, and the request that goes to the server instead of it.

The server's request is built anew from what was understood: nothing that belongs to the way between the application
and the proxy, or that says who the application is, is copied.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error

import attrs

from torpydo.apps.httpproxy.bodies import Body, ChunkedBody, LengthBody, content_length, is_chunked
from torpydo.apps.httpproxy.grammar import BadMessage, Fields, parse_fields, parse_request_line
from torpydo.apps.isolation import NOBODY, Credentials

__all__ = ["HOP_BY_HOP", "Request", "end_to_end", "read_request"]

# Fields of one hop: RFC 9110 7.6.1 and RFC 2616 13.5.1, all of Proxy-*, and HTTP2-Settings. Trailers are dropped, so
# what announces them is too.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
# Fields that tell a server who the application is, or that a proxy is here.
_TELLTALE = frozenset((b"via", b"forwarded", b"x-real-ip", b"client-ip", b"x-client-ip", b"true-client-ip"))
_TELLTALE_PREFIXES = (b"proxy-", b"x-forwarded-")
# Fields that Connection must not take away: without them the message would mean something else.
_NOT_TO_BE_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding"))

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^#]*)(#.*)?")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._\-]+)(?::([0-9]{1,5}))?")


@attrs.frozen
class Request:
    """What is asked.

    :ivar tunnel: whether it is a CONNECT
    :ivar host: the server, as it came
    :ivar port: its port
    :ivar credentials: what keeps the application's streams apart
    :ivar method: the method
    :ivar minor: the application speaks HTTP/1.minor
    :ivar persistent: whether it wants to keep the connection
    :ivar body: what reads its body
    :ivar chunked: whether the body goes to the server in chunks
    :ivar head: the head of the server's request; empty for a CONNECT
    """

    tunnel: bool
    host: str
    port: int
    credentials: Credentials
    method: bytes
    minor: int
    persistent: bool
    body: Body
    chunked: bool
    head: bytes = attrs.field(repr=False)


def read_request(lines: list[bytes]) -> Request:
    """Understand the head of a request.

    :raises BadMessage: if it is malformed, ambiguous, or asks for what is not offered
    """
    line = parse_request_line(lines[0])
    fields = parse_fields(lines[1:])
    tunnel = line.method == b"CONNECT"
    chunked = is_chunked(fields, line.minor)
    length = content_length(fields)
    body: Body = ChunkedBody() if chunked else LengthBody(length or 0)
    _check_host(fields, needed=line.minor == 1 and not tunnel)
    if tunnel and not body.done:
        raise BadMessage("a CONNECT has no body")
    if line.method == b"TRACE":
        raise BadMessage("TRACE is not offered: it would show the server what the proxy added or took away", 405)
    if any(value.lower() != b"100-continue" for value in fields.all(b"expect")):
        raise BadMessage("the only expectation that is known is 100-continue", 417)
    kept = end_to_end(fields)
    head = b""
    if tunnel:
        host, port = _authority(line.target, default=None)
    else:
        authority, path = _absolute(line.method, line.target)
        host, port = _authority(authority, default=80)
        head = _forward_head(line.method, path, authority, kept, chunked)
    return Request(
        tunnel=tunnel,
        host=host,
        port=port,
        credentials=_credentials(fields),
        method=line.method,
        minor=line.minor,
        persistent=_is_persistent(fields, line.minor),
        body=body,
        chunked=chunked,
        head=head,
    )


def end_to_end(fields: Fields) -> Fields:
    """The fields that are for the other end.

    :raises BadMessage: if Connection names a field that is never its to name
    """
    named = frozenset(fields.tokens(b"connection"))
    if named & _NOT_TO_BE_NAMED:
        raise BadMessage("Connection names a field that frames the message")
    kept = fields.without(HOP_BY_HOP | named)
    return Fields(tuple(item for item in kept.items if not item[0].lower().startswith(b"proxy-")))


def _forward_head(method: bytes, path: bytes, authority: bytes, fields: Fields, chunked: bool) -> bytes:
    told = fields.without(_TELLTALE | {b"host"})
    kept = Fields(tuple(item for item in told.items if not item[0].lower().startswith(_TELLTALE_PREFIXES)))
    # Connection: close, because every request has a stream of its own: what one server's answer means can then never
    # depend on another request.
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    first = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, path, authority)
    return first + kept.encode() + framing + b"Connection: close\r\n\r\n"


def _check_host(fields: Fields, *, needed: bool) -> None:
    """One valid Host, although the target is what counts: two of them are how a request means two things."""
    values = fields.all(b"host")
    if len(values) > 1:
        raise BadMessage("more than one Host")
    if not values and needed:
        raise BadMessage("an HTTP/1.1 request without Host")
    if values and values[0] and not _AUTHORITY.fullmatch(values[0]):
        raise BadMessage("the Host is malformed")


def _absolute(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Split an absolute target into its authority and the path."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadMessage("this is an HTTP proxy: a request must name its server, as in GET http://example.org/")
    scheme, authority, path, fragment = match.groups()
    if scheme.lower() == b"https":
        raise BadMessage("an https address is reached by CONNECT: the proxy must not see what is inside", 501)
    if scheme.lower() != b"http":
        raise BadMessage("only http addresses are fetched here", 501)
    if fragment is not None:
        raise BadMessage("a fragment is never sent")
    if not path.startswith(b"/"):
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return authority, path


def _authority(authority: bytes, default: int | None) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise BadMessage("the address is malformed; it must be HOST:PORT without a user")
    if match[2] is None and default is None:
        raise BadMessage("a CONNECT must name the port, as in CONNECT example.org:443")
    return match[1].decode("ascii"), int(match[2]) if match[2] is not None else default or 0


def _credentials(fields: Fields) -> Credentials:
    """The pair of Proxy-Authorization. It is no login; it keeps streams apart."""
    values = fields.all(b"proxy-authorization")
    if not values:
        return NOBODY
    scheme, _, encoded = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"basic":
        raise BadMessage("Proxy-Authorization must be one Basic pair")
    try:
        user, _, password = b64decode(encoded.strip(b" "), validate=True).partition(b":")
    except Base64Error as error:
        raise BadMessage("Proxy-Authorization is not base64") from error
    return Credentials(user, password)


def _is_persistent(fields: Fields, minor: int) -> bool:
    wishes = fields.tokens(b"connection") + fields.tokens(b"proxy-connection")
    return b"close" not in wishes and (minor == 1 or b"keep-alive" in wishes)
