"""The page for a browser that speaks HTTP to the SOCKS port."""

from __future__ import annotations

__all__ = ["HELP_PAGE", "looks_like_http"]

_BODY = b"""<!DOCTYPE html>
<html lang="en">
<head><title>This is a SOCKS proxy</title></head>
<body>
<h1>This is a SOCKS proxy, not an HTTP proxy</h1>
<p>torpydo listens here for SOCKS 5, 4a and 4. Your program sent an HTTP request, which went nowhere.</p>
<p>Set this address as the program's <b>SOCKS 5</b> proxy, with names resolved by the proxy
(<code>socks5h://</code> for curl), or use torpydo's HTTP proxy, which listens on another port (8118 by default).</p>
</body>
</html>
"""

# 501: the request is understood as HTTP, and nothing here implements it. No word of the request is repeated.
HELP_PAGE = (
    b"HTTP/1.0 501 This is a SOCKS proxy\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)


def looks_like_http(first: int) -> bool:
    """Whether a first byte is that of an HTTP method: G, H, P and every other capital letter."""
    return 0x41 <= first <= 0x5A
