"""Where fetched bytes go: a file that appears only when it is whole, or standard output.

An output takes bytes with ``write`` and ends with ``finish`` (everything is there) or ``abandon`` (it is not).
"""

from __future__ import annotations

import os
import stat
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.fdesc import setBlocking, setNonBlocking, writeToFD
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from torpydo.errors import StateError, StreamFailed

__all__ = ["FileOutput", "Output", "PipeOutput", "standard_output"]


class Output(Protocol):
    """A place for bytes."""

    def follow(self, producer: IPushProducer) -> None:
        """*producer* writes what comes next; pause it when there is no room."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""

    def check(self) -> None:
        """Raise if the output has failed without being asked."""

    async def finish(self) -> None:
        """Everything was written: make it last."""

    def abandon(self) -> None:
        """Leave nothing behind that looks whole. Harmless after ``finish``."""


def _refused(path: str, error: OSError, option: str = "-o") -> StateError:
    return StateError(f"{path} cannot be written: {error.strerror}; choose another place with {option}")


class FileOutput:
    """A file. The bytes go to a file beside it, which takes its name at the end.

    :param option: names the file on the command line
    :raises StateError: whenever the file system refuses, and for a name that only a plain file should take
    """

    def __init__(self, path: str, option: str = "-o") -> None:
        self._path = path
        self._option = option
        self._partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.part")
        if os.path.isdir(path):
            raise StateError(f"{path} is a directory; name a file with {option}")
        if not os.path.basename(path):
            raise StateError(f"{path!r} is not the name of a file; name one with {option}")
        # A pipe or a device would be gone, and a file in its place.
        if os.path.exists(path) and not os.path.isfile(path):
            raise StateError(f"{path} is not a plain file; name another with {option}")
        try:
            self._file = open(self._partial, "xb")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StateError:
        return _refused(self._path, error, self._option)

    def follow(self, producer: IPushProducer) -> None:
        """A disk is never full of work, only of data: nothing to pause."""

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._refused(error) from error

    def check(self) -> None:
        """A file fails only when it is written to."""

    async def finish(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._partial, self._path)
        except OSError as error:
            raise self._refused(error) from error
        self._file.close()

    def abandon(self) -> None:
        if not self._file.closed:
            os.unlink(self._partial)
            # What a full disk left in the buffer may fail again; it goes with the file.
            try:
                self._file.close()
            except OSError:
                return


class DescriptorOutput:
    """A descriptor that takes everything at once: a terminal, or a file that the shell opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def follow(self, producer: IPushProducer) -> None:
        """It takes everything."""

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise _refused("standard output", error) from error

    def check(self) -> None:
        """It fails only when it is written to."""

    async def finish(self) -> None:
        """Nothing is kept back."""

    def abandon(self) -> None:
        """What was written was written."""


class PipeOutput(FileDescriptor):
    """A pipe: when its reader is slow the sender is paused, and the reactor never waits.

    :raises BrokenPipeError: when the reader has gone
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor
        self._closed: Deferred[None] = Deferred()
        self.connected = 1
        setNonBlocking(descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def writeSomeData(self, data: bytes) -> int | Exception:
        written: int | Exception = writeToFD(self._descriptor, data)
        return written

    def follow(self, producer: IPushProducer) -> None:
        self.registerProducer(producer, True)

    def connectionLost(self, reason: Failure) -> None:
        FileDescriptor.connectionLost(self, reason)
        setBlocking(self._descriptor)
        self._closed.callback(None)

    def check(self) -> None:
        if self._closed.called and not self.disconnecting:
            raise BrokenPipeError("the program that reads the data has gone")

    async def finish(self) -> None:
        self.check()
        self.unregisterProducer()
        FileDescriptor.loseConnection(self)
        await self._closed
        if self.dataBuffer or self._tempDataBuffer:
            raise BrokenPipeError("the program that reads the data has gone")

    def abandon(self) -> None:
        if not self._closed.called:
            self.connectionLost(Failure(StreamFailed("not everything came")))


def standard_output(reactor: Any, descriptor: int = 1) -> Output:
    """The output for standard output, whatever it is."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return PipeOutput(reactor, descriptor)
    return DescriptorOutput(descriptor)
