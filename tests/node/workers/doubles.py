"""Doubles of a worker's process and of its side of the channel."""

from __future__ import annotations

from typing import Any

import attrs

from torpydo.node.workers.messages import MessageReader, Status, ToSupervisor, ToWorker, encode
from torpydo.node.workers.processes import Owner


@attrs.define(eq=False)
class FakeProcess:
    """A process that does only what a test tells it.

    :ivar said: the messages that it was sent
    :ivar descriptors: the file descriptors that came along
    :ivar killed: how often it was killed; that ends it ...
    :ivar immortal: ... unless it raises an error
    """

    number: int
    owner: Owner
    queued: int = 0
    said: list[ToWorker] = attrs.field(factory=list)
    descriptors: list[int] = attrs.field(factory=list)
    killed: int = 0
    immortal: bool = False
    alive: bool = True
    reader: MessageReader[ToWorker] = attrs.field(factory=lambda: MessageReader(ToWorker))
    data: bytes = attrs.field(default=b"", repr=False)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """See ``processes.Launched``."""
        self.data += data
        self.said += self.reader.receive(data)
        if descriptor is not None:
            self.descriptors.append(descriptor)

    def kill(self) -> None:
        """See ``processes.Launched``."""
        if self.immortal:
            raise RuntimeError("cannot be killed")
        self.killed += 1
        self.end("ended by SIGKILL")

    def end(self, reason: str) -> None:
        """The process ends."""
        if self.alive:
            self.alive = False
            self.owner.ended(reason)

    def says(self, message: ToSupervisor) -> None:
        """It sends a message to its supervisor."""
        self.owner.received(encode(message))

    def reports(self, *, refused: dict[str, int] | None = None, **fields: int) -> None:
        """It sends a report."""
        names = [name for name in Status.__struct_fields__ if name != "refused"]
        self.says(Status(**dict.fromkeys(names, 0) | fields, refused=refused or {}))

    def heard(self, kind: type) -> list[Any]:
        """The messages of one kind that it was sent."""
        return [message for message in self.said if isinstance(message, kind)]


@attrs.define(eq=False)
class FakeLaunch:
    """Starts such processes.

    :ivar started: all of them, in order
    :ivar broken: what starting one raises
    """

    started: list[FakeProcess] = attrs.field(factory=list)
    broken: OSError | None = None

    def __call__(self, reactor: Any, number: int, owner: Owner) -> FakeProcess:
        if self.broken is not None:
            raise self.broken
        self.started.append(FakeProcess(number, owner))
        return self.started[-1]

    @property
    def alive(self) -> dict[int, FakeProcess]:
        """Those that run, by number."""
        return {process.number: process for process in self.started if process.alive}
