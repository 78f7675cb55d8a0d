"""Which HTTP status says which failure, and the small answer that the proxy itself makes.

Every such answer has the field ``X-Torpydo-Error`` with a word for programs, and a plain text for people. A server's
own field of that name is removed from its answers, so the field always tells the truth about who speaks.
"""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType

import attrs
from twisted.internet.error import TimeoutError as TwistedTimeoutError

from torpydo.apps.destinations import Why
from torpydo.apps.httpproxy.grammar import BadMessage
from torpydo.errors import (
    CircuitError,
    ConnectRefused,
    ConnectTimeout,
    DirectoryError,
    ExitPolicyRefused,
    HostUnreachable,
    LinkError,
    NetworkUnreachable,
    NodeOverloaded,
    NoExit,
    OnionNameError,
    PathError,
    ResolveFailed,
    ServiceNotFound,
    ServiceUnreachable,
    StreamReset,
    TooFewNodes,
    TorpydoError,
)

__all__ = [
    "BAD_ANSWER",
    "ERROR_FIELD",
    "FAILURES",
    "NO_ANSWER",
    "TIMED_OUT",
    "Refusal",
    "bad_request",
    "failure_of",
    "forbidden",
    "refusal_answer",
]

ERROR_FIELD = b"X-Torpydo-Error"


@attrs.frozen
class Refusal:
    """An answer that the proxy makes itself.

    :ivar status: the HTTP status
    :ivar word: what programs read
    :ivar text: what people read
    """

    status: int
    word: str
    text: str


TIMED_OUT = Refusal(504, "timeout", "The destination did not answer in time.")
NO_ANSWER = Refusal(502, "no-answer", "The server closed the connection without an answer.")
BAD_ANSWER = Refusal(502, "bad-answer", "The server's answer is not valid HTTP/1.1 and was not passed on.")
_OTHER = Refusal(502, "failed", "The exit could not open the connection, or lost it.")

# The nearest class of an error counts.
FAILURES = MappingProxyType(
    {
        ExitPolicyRefused: Refusal(403, "exit-policy", "The exit's policy refuses this destination."),
        ResolveFailed: Refusal(502, "resolve-failed", "The destination's name does not resolve."),
        ConnectRefused: Refusal(502, "connect-refused", "The destination refused the connection."),
        ConnectTimeout: TIMED_OUT,
        TwistedTimeoutError: TIMED_OUT,
        OnionNameError: Refusal(502, "onion-name", "This is not the name of an onion service; is it whole?"),
        ServiceNotFound: Refusal(502, "service-not-found", "No onion service of this name is there."),
        ServiceUnreachable: Refusal(504, "service-unreachable", "The onion service does not answer; try again later."),
        HostUnreachable: Refusal(502, "host-unreachable", "The exit cannot reach the destination host."),
        NetworkUnreachable: Refusal(502, "network-unreachable", "The exit cannot reach the destination network."),
        StreamReset: Refusal(502, "reset", "The connection was torn before an answer."),
        NodeOverloaded: Refusal(503, "overloaded", "A node has no resources left for this stream; try again."),
        NoExit: Refusal(503, "no-exit", "No listed node has an exit policy that accepts this port."),
        TooFewNodes: Refusal(503, "too-few-nodes", "There are too few nodes for a path."),
        PathError: Refusal(503, "no-path", "No path can be chosen from the nodes that are known."),
        DirectoryError: Refusal(503, "no-directory", "The list of nodes is not there; check that the pool is running."),
        CircuitError: Refusal(503, "circuit", "The circuit could not be built, or was lost; try again."),
        LinkError: Refusal(503, "circuit", "The circuit could not be built, or was lost; try again."),
    }
)


def failure_of(error: BaseException | None) -> Refusal:
    """What an error is to the application. Our own errors add their sentence; it never repeats a peer's words."""
    found = next((FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES), _OTHER)
    if isinstance(error, TorpydoError) and str(error):
        return attrs.evolve(found, text=f"{found.text}\n{error}")
    return found


def forbidden(why: Why) -> Refusal:
    """The answer for a destination that never leaves this machine."""
    if why in (Why.SPECIAL, Why.PRIVATE):
        return Refusal(403, f"{why.name.lower()}-destination", f"The proxy refuses this destination: {why.value}.")
    return Refusal(400, "bad-destination", f"The proxy cannot use this destination: {why.value}.")


def bad_request(error: BadMessage) -> Refusal:
    """The answer for a request that is refused."""
    return Refusal(error.status, "bad-request", f"The proxy refuses this request: {error.why}.")


def refusal_answer(refusal: Refusal, *, head_only: bool) -> bytes:
    """The bytes of an answer.

    :param head_only: whether the request was HEAD
    """
    body = (refusal.text + "\n").encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\n"
        f"{ERROR_FIELD.decode('ascii')}: {refusal.word}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if head_only else body)
