"""The workers of a node, from above: started, told what they must know, given connections, started again.

All that a worker has to know is kept as the messages that say it, so that one that was started again hears the same
as the others. Called by parts as the node's carrier.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.directory import Listing, NetDir, PoolURL
from torpydo.errors import RemoteProtocolError
from torpydo.net import LIMITED, FileBudget, Gate
from torpydo.node.bounds import Bounds
from torpydo.node.carrier import addresses_of, hosts_of, open_gate
from torpydo.node.config import NodeConfig
from torpydo.node.drain import stop_time
from torpydo.node.status import NodeStatus
from torpydo.node.workers.balancer import Balancer
from torpydo.node.workers.handover import HandoverFactory
from torpydo.node.workers.messages import (
    AcceptedKeys,
    Connection,
    Drain,
    Drained,
    Leaving,
    LogLine,
    MessageReader,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Status,
    Stop,
    ToSupervisor,
    ToWorker,
    encode,
)
from torpydo.node.workers.processes import Launch, Launched
from torpydo.node.workers.restarts import Restarts
from torpydo.node.workers.tally import Tally
from torpydo.tpdp import Address

__all__ = ["Supervisor"]

KILL_AFTER: Final = 0.6
"""Seconds after which a worker that was to stop is killed, beyond those that its links may take ..."""
STOP_TIME: Final = stop_time(0.0) + KILL_AFTER
"""... so that a stop takes five at the most (SECURITY Z3)."""
LOOK: Final = 1.0
"""Seconds between two looks at the workers."""
SILENT_LOOKS: Final = 30
"""Looks without a word from a worker, which has one for each second, after which it is killed. Looks and not seconds:
they do not go on while the whole node is suspended."""
MAX_QUEUED: Final = 128 * 1024 * 1024
"""Bytes that a worker may leave unread; a listing has 16 MiB at the most."""


@attrs.define(eq=False)
class _Worker:
    """One worker that runs; reports what its process does.

    :ivar again: whether the one before it has ended
    """

    number: int
    supervisor: Supervisor = attrs.field(repr=False)
    started_at: float
    again: bool
    process: Launched | None = None
    reader: MessageReader[ToSupervisor] = attrs.field(factory=lambda: MessageReader(ToSupervisor))
    status: Status | None = None
    silent: int = 0
    drained: bool = False

    def received(self, data: bytes) -> None:
        """It has sent something."""
        self.supervisor.received(self, data)

    def given_up(self) -> None:
        """A connection could not be sent to it."""
        self.supervisor.given_up(self)

    def deaf(self) -> None:
        """It hears nothing any more."""
        self.supervisor.leaving(self)

    def ended(self, reason: str) -> None:
        """It is gone."""
        self.supervisor.ended(self, reason)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send it something; one that does not read is ended."""
        assert self.process is not None
        self.process.send(data, descriptor)
        if self.process.queued > MAX_QUEUED:
            self.process.kill()


@attrs.define(eq=False)
class Supervisor:
    """All workers of a node.

    :param onion_keys: the keys that circuits may be made for, the current one first
    :param listings: the verified listing of each pool that has one
    :param wall_clock: seconds since 1970
    :param launch: starts a process
    :param files: the file descriptors of this process; without it nobody counts them
    """

    _reactor: Any
    _config: NodeConfig
    _identity: SigningKey
    _onion_keys: Callable[[], Sequence[DHSecretKey]]
    _listings: Callable[[], Mapping[PoolURL, Listing]]
    _wall_clock: Callable[[], float]
    _launch: Launch
    _files: FileBudget | None = None
    factory: HandoverFactory = attrs.field(init=False)
    gate: Gate = attrs.field(init=False)
    _bounds: Bounds = attrs.field(init=False)
    _past: Tally = attrs.field(init=False, factory=Tally)
    """What workers had counted that have ended."""
    _told: dict[object, bytes] = attrs.field(init=False, factory=dict, repr=False)
    """What a worker has to know, in the order in which it has to hear it; keys are in it."""
    _workers: dict[int, _Worker] = attrs.field(init=False, factory=dict)
    _restarts: dict[int, Restarts] = attrs.field(init=False, factory=dict)
    _timers: dict[int, IDelayedCall] = attrs.field(init=False, factory=dict)
    _balancer: Balancer = attrs.field(init=False, factory=Balancer)
    _looker: LoopingCall = attrs.field(init=False)
    _draining: Deferred[None] | None = attrs.field(init=False, default=None)
    _stopped: Deferred[None] | None = attrs.field(init=False, default=None)
    _stop_time: float = attrs.field(init=False, default=STOP_TIME)
    _killer: IDelayedCall | None = attrs.field(init=False, default=None)

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._bounds = Bounds.open(self._reactor, self._config.limits, self._files)
        self.gate = open_gate(self._bounds, self._reactor)
        self.factory = HandoverFactory(self.hand, self.gate)
        self._looker = LoopingCall(self._look)
        self._looker.clock = self._reactor

    # -- What the parts ask

    def start(self) -> None:
        """Start the workers."""
        config = self._config
        self._tell(
            "setup",
            Setup(
                identity=bytes(self._identity.seed),
                exit_policy=str(config.exit_policy),
                allow_single_hop=config.allow_single_hop,
                aegis=config.aegis,
                pools=tuple(str(url) for url in config.pools),
                limits=config.limits.share(config.workers).words(),
            ),
        )
        self.keys_changed()
        for number in range(1, config.workers + 1):
            self._restarts[number] = Restarts()
            self._start(number, again=False)
        self._look_forever()

    def drain(self, seconds: float) -> Deferred[None]:
        """Let no worker take anything new; fires when no circuit is left in any of them, or then. A stop follows."""
        self._draining = Deferred()
        self._stop_time = stop_time(seconds) + KILL_AFTER
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for worker in list(self._workers.values()):
            worker.send(encode(Drain(seconds)))
        # One that does not answer is not waited for.
        drained = self._draining.addTimeout(seconds, self._reactor, onTimeoutCancel=lambda result, seconds: None)
        self._look_at_drain()
        return drained

    def _look_at_drain(self) -> None:
        drained = all(worker.drained for worker in self._workers.values())
        if self._draining is not None and drained and not self._draining.called:
            self._draining.callback(None)

    def stop(self) -> Deferred[None]:
        """End all workers; fires when they are gone, within five seconds."""
        if self._looker.running:
            self._looker.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._workers:
            return succeed(None)
        self._stopped = Deferred()
        self._killer = self._reactor.callLater(self._stop_time, self._kill_all)
        for worker in list(self._workers.values()):
            worker.send(encode(Stop()))
        return self._stopped

    def status(self) -> NodeStatus:
        """The sums over all workers, as of a second ago."""
        known = [worker.status for worker in self._workers.values() if worker.status is not None]
        total = Tally()
        total.add(self._past)
        for one in known:
            total.add(one)
        total.refuse(self._bounds.refusals.counts())
        own = self._bounds.files
        files, most = min([(one.files, one.files_most) for one in known] + [(own.used, own.most or 0)], key=_left)
        return NodeStatus(
            links=sum([one.links for one in known]),
            circuits=sum([one.circuits for one in known]),
            streams=sum([one.streams for one in known]),
            queued=sum([one.queued for one in known]),
            pending=sum([one.pending for one in known]),
            files=files,
            files_most=most,
            received=total.received,
            sent=total.sent,
            handshakes=total.handshakes,
            circuits_made=total.circuits_made,
            worker_lag=max([one.lag for one in known], default=0.0),
            refused=total.refused,
        )

    def set_own(self, addresses: Sequence[Address]) -> None:
        """The node is reached at *addresses*, and nowhere else any more."""
        self._tell("own", OwnAddresses(tuple((one.ip, one.port) for one in addresses)))

    def network_changed(self, netdir: NetDir) -> None:
        """The listings say something new."""
        self._bounds.in_force.network_changed(test_network=netdir.test_network)
        self.gate.known = hosts_of(addresses_of(netdir))
        for url, listing in self._listings().items():
            self._tell(("listing", url), PoolListing.of(url, listing))
        # After the listings, also for a worker that hears all of it later.
        self._told.pop("network", None)
        self._tell("network", NetworkChanged(self._wall_clock()))

    def keys_changed(self) -> None:
        """The onion keys may be other ones."""
        self._tell("keys", AcceptedKeys(tuple(bytes(key.raw) for key in self._onion_keys())))

    def _tell(self, subject: object, message: ToWorker) -> None:
        """Tell all workers, those that come later too, unless it is what they were told of *subject* before."""
        data = encode(message)
        if self._told.get(subject) == data:
            return
        self._told[subject] = data
        for worker in list(self._workers.values()):
            worker.send(data)

    # -- Connections

    def hand(self, descriptor: int, family: int) -> None:
        """Give a connection to a worker; without any, it is closed."""
        ending = self._stopped is not None or self._draining is not None
        number = None if ending else self._balancer.take()
        if number is None:
            os.close(descriptor)
        else:
            self._workers[number].send(encode(Connection(family)), descriptor)

    def given_up(self, worker: _Worker) -> None:
        """A connection could not be sent to *worker*, and is closed."""
        self._balancer.given_up(worker.number)

    def leaving(self, worker: _Worker) -> None:
        """*worker* takes no connections any more; its process may live on for seconds."""
        self._balancer.remove(worker.number)

    # -- Processes that come and go

    def _start(self, number: int, *, again: bool = True) -> None:
        self._timers.pop(number, None)
        worker = _Worker(number, self, self._reactor.seconds(), again)
        try:
            worker.process = self._launch(self._reactor, number, worker)
        except OSError as error:
            self._again(worker, f"it could not be started: {error.strerror}")
            return
        self._workers[number] = worker
        self._balancer.add(number, again=again)
        for data in list(self._told.values()):
            worker.send(data)

    def ended(self, worker: _Worker, reason: str) -> None:
        """The process of *worker* is gone."""
        del self._workers[worker.number]
        if worker.status is not None:
            self._past.add(worker.status)
        self._balancer.remove(worker.number)
        if self._draining is not None:
            self._look_at_drain()
        elif self._stopped is None:
            self._again(worker, reason)
        if self._stopped is not None and not self._workers:
            if self._killer is not None and self._killer.active():
                self._killer.cancel()
            self._stopped.callback(None)

    def _again(self, worker: _Worker, reason: str) -> None:
        delay = self._restarts[worker.number].delay(self._reactor.seconds() - worker.started_at)
        self.log.error(
            "worker {worker} has ended and is started again in {delay:.0f} s: {reason}",
            worker=worker.number,
            delay=delay,
            reason=reason,
        )
        self._timers[worker.number] = self._reactor.callLater(delay, self._start, worker.number)

    def _kill_all(self) -> None:
        for worker in list(self._workers.values()):
            self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        assert worker.process is not None
        worker.process.kill()

    def _look_forever(self) -> None:
        self._looker.start(LOOK, now=False).addErrback(self._broke)

    def _look(self) -> None:
        for worker in list(self._workers.values()):
            worker.silent += 1
            if worker.silent == SILENT_LOOKS:
                self.log.error("worker {worker} says nothing any more and is killed", worker=worker.number)
                self._kill(worker)

    def _broke(self, failure: Failure) -> None:
        # A loop ends with the first error; workers of which nobody knows whether they live would be worse than a line.
        self.log.failure("the look at the workers failed and begins again", failure)
        self._look_forever()

    # -- What workers say

    def received(self, worker: _Worker, data: bytes) -> None:
        """Take what *worker* has sent; one that says what nobody understands is ended."""
        worker.silent = 0
        try:
            messages = worker.reader.receive(data)
        except RemoteProtocolError as error:
            self.log.error("worker {worker}: {error}", worker=worker.number, error=str(error))
            self._kill(worker)
            return
        for message in messages:
            if isinstance(message, Status):
                if worker.again and worker.status is None:
                    self.log.info("worker {worker} is back", worker=worker.number)
                worker.status = message
                self._balancer.reported(worker.number, taken=message.taken, still_open=message.still_open)
            elif isinstance(message, Leaving):
                self.leaving(worker)
            elif isinstance(message, Drained):
                worker.drained = True
                self._look_at_drain()
            else:
                self._repeat(worker, message)

    def _repeat(self, worker: _Worker, line: LogLine) -> None:
        # In the name of whoever said it, as if there was only one process.
        log, level = Logger(namespace=line.namespace), LogLevel.levelWithName(line.level)
        log.emit(level, "worker {worker}: {text}", worker=worker.number, text=line.text, **{LIMITED: True})


def _left(files: tuple[int, int]) -> float:
    """How many file descriptors a process has left that uses so many of so many; any number if nobody counts."""
    used, most = files
    return most - used if most else math.inf
