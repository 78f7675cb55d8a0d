"""Tests of torpydo.net.resets. The race itself is too rare to be met in a test: here the kernel has told half of it."""

from __future__ import annotations

import errno
import socket

import attrs
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import was_reset


@attrs.define
class Connection:
    """A socket that is asked for its error."""

    error: int | OSError

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        if isinstance(self.error, OSError):
            raise self.error
        return self.error


@attrs.define
class Transport:
    """Has it."""

    socket: Connection


class ResetTests(SynchronousTestCase):
    """What the socket says."""

    def test_an_end(self) -> None:
        """Nothing is wrong."""
        self.assertFalse(was_reset(Transport(Connection(0))))

    def test_a_reset(self) -> None:
        """There is an error, or the connection is gone."""
        for error in (errno.ECONNRESET, errno.ETIMEDOUT, OSError(errno.EBADF, "closed")):
            self.assertTrue(was_reset(Transport(Connection(error))))

    def test_without_a_socket(self) -> None:
        """A transport of another kind tells its ends as they are."""
        self.assertFalse(was_reset(StringTransport()))
