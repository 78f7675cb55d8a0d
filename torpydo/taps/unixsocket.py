"""Where a service listens, from the words of an operator; a Unix socket that a killed process left is no obstacle.

Twisted's own remedy for such a socket is a lock beside it that names a process. After a loss of power, or in a
container, the number is that of another process or of this one, and the service would never start again. So whether
anybody listens is found out by connecting. Called by the taps.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorUNIX, IStreamServerEndpoint
from zope.interface import implementer

__all__ = ["OPEN", "PRIVATE", "Recorder", "UnixEndpoint", "server_endpoint"]

PRIVATE = 0o600
"""Nobody but the user who runs it connects ..."""
OPEN = 0o666
"""... and everybody who may search the directory."""


@implementer(IStreamServerEndpoint)
@attrs.frozen
class UnixEndpoint:
    """A Unix socket, in the place of one on which nobody listens any more.

    :ivar path: where it is
    :ivar backlog: connections that wait until they are taken
    :ivar mode: who may connect
    """

    reactor: IReactorUNIX
    path: str
    backlog: int
    mode: int

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; fails with ``OSError`` or ``CannotListenError``."""
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, factory: Any) -> IListeningPort:
        _remove_left(self.path)
        port: IListeningPort = self.reactor.listenUNIX(
            self.path, factory, backlog=self.backlog, mode=self.mode, wantPID=False
        )
        return port


def _remove_left(path: str) -> None:
    if not os.path.lexists(path) or not stat.S_ISSOCK(os.lstat(path).st_mode):
        return
    with socket.socket(socket.AF_UNIX) as asking:
        # Connecting succeeds or fails at once, also where it would have to wait.
        asking.setblocking(False)
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            # Somebody else's, or so busy that it takes no more: whoever listens there next is told that it is in use.
            return


class Recorder:
    """Stands in for a reactor, to learn what the words for a Unix socket mean.

    :param most: what a mode may have
    :ivar endpoint: makes the endpoint for a reactor; ``None`` if nothing listens
    """

    endpoint: Callable[[Any], IStreamServerEndpoint] | None = None

    def __init__(self, most: int = 0o777) -> None:
        self._most = most

    def listenUNIX(self, address: str, factory: Any, backlog: int, mode: int, wantPID: bool) -> None:
        """Note it."""
        if address:
            self.endpoint = lambda reactor: UnixEndpoint(reactor, address, backlog, mode & self._most)


def server_endpoint(reactor: Any, text: str, unix_mode: int = OPEN) -> IStreamServerEndpoint:
    """What ``serverFromString`` makes of *text*, but for Unix sockets.

    :param unix_mode: of a Unix socket whose mode the text does not give
    :raises ValueError, TypeError, LookupError, OSError: if it is not an endpoint
    """
    if not text.startswith("unix:"):
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
        return endpoint
    recorder = Recorder()
    try:
        # Of a word that is given twice the last one counts.
        written = serverFromString(recorder, text.replace("unix:", f"unix:mode={unix_mode:o}:", 1))
    except TypeError:
        # A mode that stands there without its name is one too many.
        written = serverFromString(recorder, text)
    written.listen(None)
    if recorder.endpoint is None:
        raise ValueError("it names no path")
    return recorder.endpoint(reactor)
