"""The exception tree.

Only exception classes live here; every room raises from this tree and nothing else reaches a user.
Blame is in the type: ``Local`` means our caller broke the rules, ``Remote`` means the peer did.
``str(error)`` is the sentence a person reads: what happened, where, and what to do next; it never holds a
key, and never a word that a peer chose.

::

    TorpydoError
    ├── ConfigurationError          an option or a URL is wrong                      (exit status 2)
    │   └── PoolURLError            a pool URL without, or with a malformed, key
    ├── StateError                  a state directory or key file cannot be trusted  (exit status 4)
    ├── ListenError                 an address cannot be listened on                 (exit status 3)
    ├── CryptoError                 a MAC, signature or key was refused
    │   ├── DecryptionFailed
    │   ├── BadSignature
    │   └── BadKey
    ├── ProtocolError
    │   ├── LocalProtocolError      our side asked for something illegal
    │   └── RemoteProtocolError     the peer sent something illegal
    ├── DirectoryError                                                               (exit status 3)
    │   ├── DescriptorError         a node's descriptor was refused
    │   ├── ListingError            a pool's listing was refused
    │   └── PoolUnreachable         no pool answered
    ├── BootstrapError              a document that names peers cannot be had or used (exit status 3)
    ├── PathError                   no path can be chosen
    │   ├── TooFewNodes
    │   └── NoExit
    ├── LinkError                   a link to a node failed or was lost
    ├── CircuitError
    │   ├── CircuitBuildError       a hop refused or did not answer
    │   └── CircuitLost             a built circuit is gone
    └── StreamError                 a stream could not be opened, or was torn
        ├── ExitPolicyRefused · ResolveFailed · ConnectRefused · ConnectTimeout
        ├── HostUnreachable · NetworkUnreachable · StreamReset · NodeOverloaded
        ├── OnionNameError          a name of an onion service that is none
        ├── ServiceNotFound         there is no such service, or not for this client
        ├── ServiceUnreachable      there is one, and it does not answer
        └── StreamFailed            any other reason
"""


class TorpydoError(Exception):
    """Something in torpydo failed."""

    exit_status = 1


class ConfigurationError(TorpydoError):
    """An option has a value that cannot be used."""

    exit_status = 2


class PoolURLError(ConfigurationError):
    """A pool URL must look like http://HOST:PORT/#KEY; copy it from the pool's STATE/pool.url."""


class StateError(TorpydoError):
    """A state directory or one of its files cannot be used as it is."""

    exit_status = 4


class ListenError(TorpydoError):
    """An address cannot be listened on; it may be in use by another process."""

    exit_status = 3


class CryptoError(TorpydoError):
    """A cryptographic check failed."""


class DecryptionFailed(CryptoError):
    """A message authentication code did not verify."""


class BadSignature(CryptoError):
    """A signature did not verify."""


class BadKey(CryptoError):
    """A key has the wrong length or is one of the values that must be refused."""


class ProtocolError(TorpydoError):
    """The rules of TPDP/1 were broken."""


class LocalProtocolError(ProtocolError):
    """The calling code asked for something that TPDP/1 does not allow now."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that TPDP/1 does not allow now."""


class DirectoryError(TorpydoError):
    """Something from the directory was refused."""

    exit_status = 3


class DescriptorError(DirectoryError):
    """A node's descriptor was refused."""


class ListingError(DirectoryError):
    """A pool's listing was refused."""


class PoolUnreachable(DirectoryError):
    """No pool answered; check the pool URL and that the pool is running."""


class BootstrapError(TorpydoError):
    """A document that names the first peers cannot be had, or is none."""

    exit_status = 3


class PathError(TorpydoError):
    """No path can be chosen from the nodes that are known."""

    exit_status = 3


class TooFewNodes(PathError):
    """There are fewer usable nodes than the path needs.

    :ivar needed: nodes that the path needs
    :ivar known: nodes that could be used
    """

    def __init__(self, needed: int, known: int, why: str = "") -> None:
        detail = f" ({why})" if why else ""
        super().__init__(
            f"too few nodes for the path: {needed} needed, {known} known{detail};"
            " wait for more nodes to be listed, or use fewer hops"
        )
        self.needed = needed
        self.known = known


class NoExit(PathError):
    """No listed node allows exits to the destination's port, or to that port of its address.

    :ivar port: ``None`` if no node allows any
    """

    def __init__(self, port: int | None, *, literal: bool = False) -> None:
        self.port = port
        if port is None:
            super().__init__(
                "no listed node has an open exit policy: only onion services can be reached; another pool may work"
            )
            return
        what, other = (f"this address with port {port}", "address") if literal else (f"port {port}", "port")
        super().__init__(
            f"no listed node has an exit policy that accepts {what}; another {other} or another pool may work"
        )


class LinkError(TorpydoError):
    """A link to a node could not be opened or was lost."""


class CircuitError(TorpydoError):
    """A circuit failed."""

    exit_status = 3


class CircuitBuildError(CircuitError):
    """A hop of a circuit refused, or did not answer.

    :ivar hop: the hop's place, 1 is the guard
    :ivar hops: how many hops the circuit was to have
    :ivar node: the hop's nickname or short node id
    """

    def __init__(self, hop: int, hops: int, node: str, why: str) -> None:
        super().__init__(f"hop {hop} of {hops}, node {node}: {why}")
        self.hop = hop
        self.hops = hops
        self.node = node
        self.why = why


class CircuitLost(CircuitError):
    """The circuit was lost; open the stream again and it will use another one."""


class StreamError(TorpydoError):
    """A stream through a circuit failed."""

    exit_status = 3


class ExitPolicyRefused(StreamError):
    """The exit policy refuses this destination."""


class ResolveFailed(StreamError):
    """The destination's name does not resolve."""


class ConnectRefused(StreamError):
    """The destination refused the connection."""


class ConnectTimeout(StreamError):
    """The destination did not answer in time."""


class HostUnreachable(StreamError):
    """The destination host cannot be reached from the exit."""


class NetworkUnreachable(StreamError):
    """The destination network cannot be reached from the exit."""


class StreamReset(StreamError):
    """The connection was torn before its end."""


class NodeOverloaded(StreamError):
    """The node has no resources left for this stream; try again, another node will be used."""


class StreamFailed(StreamError):
    """The exit could not open the stream, or lost it."""


class OnionNameError(StreamError):
    """The name of an onion service is wrong."""


class ServiceNotFound(StreamError):
    """No onion service has this name at present, or it is for clients with a key only."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or "no onion service has this name now; is it running, and is a key needed for it?")


class ServiceUnreachable(StreamError):
    """An onion service has this name, and it does not answer."""


class ItemError(TorpydoError):
    """No node has the item that was looked for, or keeps the one that was put."""

    exit_status = 3
