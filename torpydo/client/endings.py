"""What a user is told when a circuit or a stream does not come to be: which hop, and why."""

from __future__ import annotations

from collections.abc import Sequence

from torpydo.directory import Descriptor
from torpydo.errors import (
    CircuitBuildError,
    ConnectRefused,
    ConnectTimeout,
    ExitPolicyRefused,
    HostUnreachable,
    NetworkUnreachable,
    NodeOverloaded,
    ResolveFailed,
    StreamError,
    StreamFailed,
    StreamReset,
)
from torpydo.tpdp import EndReason, ExtendStatus

_STREAM: dict[EndReason, tuple[type[StreamError], str]] = {
    EndReason.RESOLVE_FAILED: (ResolveFailed, "the name does not resolve"),
    EndReason.RESOLVE_TIMEOUT: (ResolveFailed, "the name servers did not answer in time"),
    EndReason.CONNECT_REFUSED: (ConnectRefused, "the destination refused the connection"),
    EndReason.TIMEOUT: (ConnectTimeout, "the destination did not answer in time"),
    EndReason.HOST_UNREACHABLE: (HostUnreachable, "the destination host cannot be reached"),
    EndReason.NETWORK_UNREACHABLE: (NetworkUnreachable, "the destination network cannot be reached"),
    EndReason.RESET: (StreamReset, "the connection was torn"),
    EndReason.RESOURCE_LIMIT: (NodeOverloaded, "it has no resources left for the stream"),
}

_EXTEND: dict[int, str] = {
    ExtendStatus.REFUSED: "the node before it may not extend there",
    ExtendStatus.UNREACHABLE: "the node before it cannot reach it",
    ExtendStatus.TIMEOUT: "it did not answer in time",
    ExtendStatus.IDENTITY_MISMATCH: "another node answered at its address",
    ExtendStatus.DESTROYED: "it refused the circuit",
    ExtendStatus.RESOURCE_LIMIT: "the node before it has no resources left",
}


def _name(node: Descriptor) -> str:
    return node.nickname or node.node_id.short


def build_error(path: Sequence[Descriptor], hop: int, why: str = "", *, status: int = 0) -> CircuitBuildError:
    """The error for a circuit whose *hop* failed; *hop* is its place, 1 is the guard."""
    place = min(hop, len(path))
    return CircuitBuildError(place, len(path), _name(path[place - 1]), why or _EXTEND.get(status, "it failed"))


def stream_error(reason: EndReason, path: Sequence[Descriptor], port: int) -> StreamError:
    """The error for a stream that was ended with *reason* before it was open.

    :param path: to the exit that did so; empty if it was an onion service
    """
    if not path and reason is EndReason.CONNECT_REFUSED:
        return ConnectRefused(f"the onion service has nobody at port {port}: no such port, or its program does not run")
    where = f"hop {len(path)} of {len(path)}, node {_name(path[-1])}: " if path else "the onion service: "
    if reason is EndReason.EXIT_POLICY:
        return ExitPolicyRefused(f"{where}exit policy refuses port {port}" if port else f"{where}exit policy refuses")
    kind, why = _STREAM.get(reason, (StreamFailed, "the stream failed"))
    return kind(where + why)
