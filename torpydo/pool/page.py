"""The pool's page for people: who is listed, since when, with which policy. Plain HTML, no JavaScript.

Everything a node says of itself is escaped here and nowhere else. Called by web.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Final

from torpydo.crypto import PoolId
from torpydo.pool.roster import ListedNode

__all__ = ["CONTENT_SECURITY_POLICY", "render_page"]

MAX_ROWS: Final = 1000
"""Nodes on the page; programs read the listing."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
p { margin: .5rem 0; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.badge { background: #c60; border-radius: .3rem; color: #fff; font-size: .8rem; padding: .1rem .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1.5rem 0; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; }
th { font-size: .8rem; text-transform: uppercase; letter-spacing: .04em; white-space: nowrap; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.time { white-space: nowrap; }
.id { color: GrayText; display: block; }
footer { border-top: 1px solid var(--line); font-size: .85rem; padding-top: .5rem; }
"""

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>torpydo pool {short}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>torpydo pool index {badge}</h1>
<p>Key <code>{key}</code></p>
<p>{count} at {now} UTC. A node is listed after this pool has opened a link to it.</p>
</header>
<div class="scroll">
<table>
<thead><tr><th>Node</th><th>Address</th><th>Listed since (UTC)</th><th>Last heartbeat</th><th>Bandwidth (claimed)</th>
<th>Version</th><th>Exit policy</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
<footer>Programs read <a href="v1/listing">the signed listing</a>. What a node says of itself proves nothing but its id.
</footer>
</body>
</html>
"""

_ROW: Final = (
    '<tr><td>{name} <code class="id">{id}</code></td><td><code>{address}</code></td><td class="time">{since}</td>'
    '<td class="number">{heard} s ago</td><td class="number">{bandwidth}</td><td>{version}</td>'
    "<td><code>{policy}</code></td></tr>\n"
)


def render_page(pool_id: PoolId, nodes: Sequence[ListedNode], *, test_network: bool, now: float) -> bytes:
    """The page as UTF-8.

    :param nodes: the nodes that are listed
    :param now: seconds since the epoch
    """
    rows = "".join(_row(node, now) for node in nodes[:MAX_ROWS])
    count = "1 node is listed" if len(nodes) == 1 else f"{len(nodes)} nodes are listed"
    if len(nodes) > MAX_ROWS:
        count += f", the first {MAX_ROWS} of them below"
    badge = '<span class="badge">test network</span>' if test_network else ""
    return _PAGE.format(
        short=escape(pool_id.short),
        style=_STYLE,
        badge=badge,
        key=escape(str(pool_id)),
        count=count,
        now=_time(now),
        rows=rows,
    ).encode("utf-8")


def _row(node: ListedNode, now: float) -> str:
    descriptor = node.descriptor
    return _ROW.format(
        name=escape(descriptor.nickname),
        id=escape(str(descriptor.node_id)),
        address=escape(str(descriptor.address)),
        since=_time(node.record.first_seen),
        # The clock may have been set back since.
        heard=max(round(now - node.record.last_heard), 0),
        bandwidth=_rate(descriptor.bandwidth),
        version=escape(descriptor.version),
        policy=escape(str(descriptor.exit_policy)),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _rate(bandwidth: int) -> str:
    if not bandwidth:
        return "not said"
    amount, unit = float(bandwidth), "B/s"
    for larger in ("kB/s", "MB/s", "GB/s"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B/s" else f"{amount:.1f} {unit}"
