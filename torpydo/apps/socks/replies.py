"""Which SOCKS reply says which failure: one table, from the typed errors to the codes of RFC 1928."""

from __future__ import annotations

from types import MappingProxyType

from twisted.internet.error import TimeoutError as TwistedTimeoutError

from torpydo.apps.destinations import Why
from torpydo.apps.socks.messages import Reply
from torpydo.errors import (
    ConnectRefused,
    ConnectTimeout,
    ExitPolicyRefused,
    HostUnreachable,
    NetworkUnreachable,
    NoExit,
    OnionNameError,
    ResolveFailed,
    ServiceNotFound,
    ServiceUnreachable,
)

__all__ = ["REFUSALS", "REPLIES", "reply_for"]

# What is not here is FAILED: circuits, links, paths, pools, overload, a reset.
REPLIES = MappingProxyType(
    {
        ExitPolicyRefused: Reply.NOT_ALLOWED,
        # no node's policy accepts the port: for the application the same as one exit's refusal
        NoExit: Reply.NOT_ALLOWED,
        NetworkUnreachable: Reply.NETWORK_UNREACHABLE,
        HostUnreachable: Reply.HOST_UNREACHABLE,
        ResolveFailed: Reply.HOST_UNREACHABLE,
        ConnectRefused: Reply.REFUSED,
        ConnectTimeout: Reply.TIMED_OUT,
        TwistedTimeoutError: Reply.TIMED_OUT,
        OnionNameError: Reply.HOST_UNREACHABLE,
        ServiceNotFound: Reply.HOST_UNREACHABLE,
        ServiceUnreachable: Reply.HOST_UNREACHABLE,
    }
)

REFUSALS = MappingProxyType(
    {
        Why.SPECIAL: Reply.NOT_ALLOWED,
        Why.PRIVATE: Reply.NOT_ALLOWED,
        Why.PORT: Reply.FAILED,
        # a name that cannot exist does not resolve
        Why.MALFORMED: Reply.HOST_UNREACHABLE,
    }
)


def reply_for(error: BaseException | None) -> Reply:
    """The reply for an error; a subclass counts as the nearest class in the table."""
    return next((REPLIES[kind] for kind in type(error).__mro__ if kind in REPLIES), Reply.FAILED)
