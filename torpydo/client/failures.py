"""Errors as a Twisted program expects them: every one is what torpydo calls it *and* a ``ConnectError``.

Inside torpydo an error is one of :mod:`torpydo.errors`. Where it leaves through an endpoint, :func:`as_connect_error`
turns it into the class of this table that is both, so that ``except ConnectionRefusedError`` of an existing program and
``except torpydo.errors.ConnectRefused`` of a new one both work. The text stays the same.
"""

from __future__ import annotations

from twisted.internet import error as twisted_errors

from torpydo import errors


class _Both(errors.TorpydoError, twisted_errors.ConnectError):
    """An error of both families; text and fields come from torpydo's."""

    def __init__(self, error: errors.TorpydoError) -> None:
        # Neither family's __init__ is called: one has its own arguments, the other would write over args.
        self.__dict__.update(error.__dict__)
        self.args = error.args
        self.exit_status = error.exit_status
        self.osError = None

    def __str__(self) -> str:
        return Exception.__str__(self)


class CircuitBuildFailure(_Both, errors.CircuitBuildError):
    """A hop refused or did not answer."""


class CircuitLostFailure(_Both, errors.CircuitLost):
    """The circuit was lost before the stream was open."""


class CircuitFailure(_Both, errors.CircuitError):
    """No circuit was ready."""


class TooFewNodesFailure(_Both, errors.TooFewNodes):
    """Too few nodes for a path."""


class NoExitFailure(_Both, errors.NoExit):
    """No exit for the port."""


class PathFailure(_Both, errors.PathError):
    """No path."""


class LinkFailure(_Both, errors.LinkError):
    """The link to the guard failed."""


class DirectoryFailure(_Both, errors.DirectoryError):
    """The listings cannot be used."""


class PoolUnreachableFailure(_Both, errors.PoolUnreachable):
    """No pool answered."""


class ExitPolicyFailure(_Both, errors.ExitPolicyRefused):
    """The exit policy refuses the destination."""


class ResolveFailure(_Both, errors.ResolveFailed, twisted_errors.UnknownHostError):
    """The name does not resolve."""


class ConnectRefusedFailure(_Both, errors.ConnectRefused, twisted_errors.ConnectionRefusedError):
    """The destination refused."""


class ConnectTimeoutFailure(_Both, errors.ConnectTimeout, twisted_errors.TimeoutError):
    """The destination did not answer."""


class HostUnreachableFailure(_Both, errors.HostUnreachable, twisted_errors.NoRouteError):
    """The host cannot be reached."""


class NetworkUnreachableFailure(_Both, errors.NetworkUnreachable, twisted_errors.NoRouteError):
    """The network cannot be reached."""


class StreamResetFailure(_Both, errors.StreamReset):
    """The connection was torn while it was opened."""


class NodeOverloadedFailure(_Both, errors.NodeOverloaded):
    """The node has no resources left."""


class StreamFailure(_Both, errors.StreamFailed):
    """Any other reason."""


class OnionNameFailure(_Both, errors.OnionNameError, twisted_errors.UnknownHostError):
    """The name of an onion service is wrong."""


class ServiceNotFoundFailure(_Both, errors.ServiceNotFound, twisted_errors.UnknownHostError):
    """No onion service has this name."""


class ServiceUnreachableFailure(_Both, errors.ServiceUnreachable, twisted_errors.NoRouteError):
    """An onion service does not answer."""


class BootstrapFailure(_Both, errors.BootstrapError):
    """A document with the first peers cannot be had."""


class ListingFailure(_Both, errors.ListingError):
    """A pool's listing was refused."""


class ConfigurationFailure(_Both, errors.ConfigurationError):
    """An option has a value that cannot be used."""


class PoolURLFailure(_Both, errors.PoolURLError):
    """A pool URL is not one."""


class StateFailure(_Both, errors.StateError):
    """The state directory cannot be used."""


class LocalProtocolFailure(_Both, errors.LocalProtocolError):
    """The calling code asked for something that is not possible now."""


class RemoteProtocolFailure(_Both, errors.RemoteProtocolError):
    """A node broke the rules."""


class CryptoFailure(_Both, errors.CryptoError):
    """A cryptographic check failed."""


class OtherFailure(_Both):
    """An error of torpydo that has no row of its own."""


# The most special first: the first row that fits is taken.
_TABLE: tuple[tuple[type[errors.TorpydoError], type[_Both]], ...] = (
    (errors.CircuitBuildError, CircuitBuildFailure),
    (errors.CircuitLost, CircuitLostFailure),
    (errors.CircuitError, CircuitFailure),
    (errors.TooFewNodes, TooFewNodesFailure),
    (errors.NoExit, NoExitFailure),
    (errors.PathError, PathFailure),
    (errors.LinkError, LinkFailure),
    (errors.PoolUnreachable, PoolUnreachableFailure),
    (errors.ListingError, ListingFailure),
    (errors.DirectoryError, DirectoryFailure),
    (errors.ExitPolicyRefused, ExitPolicyFailure),
    (errors.ResolveFailed, ResolveFailure),
    (errors.ConnectRefused, ConnectRefusedFailure),
    (errors.ConnectTimeout, ConnectTimeoutFailure),
    (errors.HostUnreachable, HostUnreachableFailure),
    (errors.NetworkUnreachable, NetworkUnreachableFailure),
    (errors.StreamReset, StreamResetFailure),
    (errors.NodeOverloaded, NodeOverloadedFailure),
    (errors.OnionNameError, OnionNameFailure),
    (errors.ServiceNotFound, ServiceNotFoundFailure),
    (errors.ServiceUnreachable, ServiceUnreachableFailure),
    (errors.BootstrapError, BootstrapFailure),
    (errors.StreamError, StreamFailure),
    (errors.PoolURLError, PoolURLFailure),
    (errors.ConfigurationError, ConfigurationFailure),
    (errors.StateError, StateFailure),
    (errors.LocalProtocolError, LocalProtocolFailure),
    (errors.RemoteProtocolError, RemoteProtocolFailure),
    (errors.CryptoError, CryptoFailure),
)


def as_connect_error(error: errors.TorpydoError) -> errors.TorpydoError:
    """The same error as a class that is also a ``twisted.internet.error.ConnectError``."""
    if isinstance(error, twisted_errors.ConnectError):
        return error
    both = next((made for kind, made in _TABLE if isinstance(error, kind)), OtherFailure)
    result = both(error)
    result.__cause__ = error.__cause__
    return result
