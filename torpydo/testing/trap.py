"""The ways out of a process that lead round its reactor: the ``socket`` module, whoever calls it, in every thread.

Two nets, for each has a hole. The methods of ``socket.socket`` are replaced, because Python resolves a name in an
address before it reports the call; and Python's own reports (audit events) are heard, because a module may have taken
``getaddrinfo`` out of ``socket`` long before. What a C library does by itself, or another process, is not seen.

Decides nothing: a :class:`Judge` is asked and raises. Called by leakguard.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Judge", "trapped"]


class Judge(Protocol):
    """Who decides what may leave. Each method returns if it may, and raises if not."""

    def judge_socket(self, sock: socket.socket, address: Any) -> None:
        """A socket is to be connected to *address*, or to send there without being connected."""

    def judge_lookup(self, name: str) -> None:
        """The addresses of *name* are asked for."""

    def judge_reverse(self, address: object) -> None:
        """The name of *address* is asked for."""


# An audit hook belongs to the process and stays until its end, so who it asks does, too. The innermost decides.
_judges: list[Judge] = []
_installed: list[bool] = []
# Set in a thread while it may look things up for the trap itself.
_ours = threading.local()

_ADDRESS_AT: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "connect": lambda arguments: arguments[0],
    "connect_ex": lambda arguments: arguments[0],
    "sendto": lambda arguments: arguments[-1],
    "sendmsg": lambda arguments: arguments[3] if len(arguments) > 3 else None,
}


@contextmanager
def trapped(judge: Judge) -> Iterator[None]:
    """Ask *judge* about everything that this process sends out past its reactor, until the end of the block."""
    if not _installed:
        sys.addaudithook(_heard)
        _installed.append(True)
    with _replaced():
        _judges.append(judge)
        try:
            yield
        finally:
            _judges.remove(judge)


@contextmanager
def unjudged() -> Iterator[None]:
    """Let this thread do what it wants until the end of the block."""
    before = getattr(_ours, "free", False)
    _ours.free = True
    try:
        yield
    finally:
        _ours.free = before


def _free() -> bool:
    return not _judges or getattr(_ours, "free", False)


@contextmanager
def _replaced() -> Iterator[None]:
    """Put questions before the methods of sockets, and before ``getnameinfo``, whose flags no report tells."""
    own = {name: vars(socket.socket).get(name) for name in _ADDRESS_AT}
    getnameinfo = socket.getnameinfo
    for name in _ADDRESS_AT:
        setattr(socket.socket, name, _asking(name, getattr(socket.socket, name)))

    def asking_getnameinfo(sockaddr: Any, flags: int) -> tuple[str, str]:
        if not flags & socket.NI_NUMERICHOST:
            return getnameinfo(sockaddr, flags)
        with unjudged():
            return getnameinfo(sockaddr, flags)

    socket.getnameinfo = asking_getnameinfo
    try:
        yield
    finally:
        socket.getnameinfo = getnameinfo
        for name, method in own.items():
            if method is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)


def _asking(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    address_in = _ADDRESS_AT[name]

    def method(self: socket.socket, *arguments: Any) -> Any:
        _ask(self, address_in(arguments) if arguments else None)
        return original(self, *arguments)

    return method


def _ask(sock: socket.socket, address: Any) -> None:
    # No address: the socket is connected, which was judged, or it is half of a pair.
    if address is not None and not _free():
        _judges[-1].judge_socket(sock, address)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket.") or _free():
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        _ask(*arguments)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        if host is not None:
            _judges[-1].judge_lookup(host.decode("ascii", "replace") if isinstance(host, bytes) else str(host))
    elif event in ("socket.gethostbyaddr", "socket.getnameinfo"):
        _judges[-1].judge_reverse(arguments[0])
