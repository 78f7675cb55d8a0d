"""Peers find each other in a simulated world, in a process of its own: ``python -m torpydo.testing.peersfound ...``.

It prints JSON: for each honest peer how many of the others it knows in the end, what that took, and what those did who
were not honest. The same options give the same figures on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import attrs
from twisted.internet.protocol import Factory

from torpydo.apps.peers import State, Verdict
from torpydo.peers import PORT, Hello, Want, frame
from torpydo.testing.peersworld import Bringer, PeersMember, PeersWorld

__all__ = ["ENOUGH", "Case", "Found", "measure"]

ENOUGH: Final = 0.9
"""The part of the others that a peer must know, and of the peers that must do so, for the time to be taken."""
STEP: Final = 300
"""Virtual seconds between two looks."""
KNOWN: Final = 3
"""Peers that all begin with, who are honest and stay."""
POOL: Final = 300
"""Bad records of each kind that liars have."""
FALSE: Final = 5
"""Names that nobody runs, for each honest peer, that an owner of many spreads."""
BRINGS: Final = 6.0
"""Seconds between two records that one who floods brings."""
BAD: Final = (Verdict.MALFORMED, Verdict.FOREIGN, Verdict.NO_WORK, Verdict.FORGED)
LATE: Final = (Verdict.FULL, Verdict.BUSY, Verdict.IGNORED, Verdict.UNTIMELY)


class Case(Enum):
    """What a share of the peers does."""

    LIARS = "liars"
    """They are there, and give records that are forged, without work, or of others' applications."""
    SYBILS = "sybils"
    """They are one, who gives true records of names that nobody runs: five for each honest peer."""
    FLOOD = "flood"
    """Every six seconds each brings somebody a record as a stranger: of a name that nobody runs, or a forged one."""
    CHURN = "churn"
    """In each hour so many go, and as many new ones come who know the first three."""
    CUT_OFF = "cut off"
    """They and the others do not reach each other from minute 10 to minute 60; the time is taken from then on."""


@attrs.frozen
class Found:
    """What was measured.

    :ivar known: of each honest peer that is there, the part of the others that it takes for online, in percent
    :ivar minutes: virtual minutes until nine of ten knew nine of ten; none if that did not happen
    :ivar bytes: that a peer has written to streams in the last hour, in the mean
    :ivar false: of each honest peer, how many it takes for online that nobody runs, or that have gone
    :ivar bad: records that an honest peer was brought in the last hour and that cost who brought them his credit
    :ivar refused: ... and for which there was no room, or no check left
    :ivar work: records that those who are not honest have worked for, for each that the honest have worked for
    """

    known: list[float]
    minutes: list[float]
    bytes: list[float]
    false: list[int]
    bad: list[float]
    refused: list[float]
    work: list[float]


class _Run:
    """One world with what happens in it."""

    def __init__(self, size: int, case: Case, share: float, seed: int) -> None:
        self.world = PeersWorld(size, seed=seed)
        self.case = case
        self.first = self.world.members[:KNOWN]
        self.special = self.world.random.sample(self.world.members[KNOWN:], min(int(size * share), size - KNOWN))
        if case in (Case.CHURN, Case.CUT_OFF):
            self.honest = list(self.world.members)
        else:
            evil = set(self.special)
            self.honest = [member for member in self.world.members if member not in evil]
        self.worked = 0
        self.fakes: list[bytes] = []

    def start(self) -> None:
        """All at once, with what they know."""
        if self.case is Case.LIARS and self.special:
            self._lie()
        elif self.case is Case.SYBILS and self.special:
            self.fakes = [self._worked(number) for number in range(FALSE * len(self.honest))]
            self._answer_with(self.fakes)
        self.world.start(known=KNOWN)
        if self.case is Case.FLOOD:
            for number, member in enumerate(self.special):
                self.world.reactor.callLater(BRINGS * number / len(self.special), self._bring, member)

    def _worked(self, number: int, *, signed: bool = True) -> bytes:
        """A record that somebody has worked for, of a name that nobody runs."""
        self.worked += 1
        return self.world.record(1_000_000 + number, signed=signed, life=6 * 3600)

    def _lie(self) -> None:
        bad = [self._worked(number, signed=False) for number in range(POOL)]
        bad += [self.world.record(number, work=False) for number in range(POOL)]
        bad += [self.world.record(number, work=False, topic=b"other") for number in range(POOL)]
        self._answer_with(bad)

    def _answer_with(self, records: Sequence[bytes]) -> None:
        for member in self.special:
            self.world.flood(member, lambda: self.world.random.sample(records, min(50, len(records))))

    def _bring(self, member: PeersMember) -> None:
        record = self._worked(self.worked, signed=self.worked % 2 == 0)
        factory = Factory.forProtocol(lambda: Bringer(frame(Hello(record)) + frame(Want(1, bytes(8)))))
        factory.noisy = False
        other = self.world.random.choice(self.honest)
        self.world.connect(member, factory, other.name, PORT).addErrback(lambda _: None)
        self.world.reactor.callLater(BRINGS, self._bring, member)

    def happens(self, minute: int) -> None:
        """What changes at that minute."""
        if self.case is Case.CUT_OFF and minute in (10, 60):
            for member in self.special:
                member.side = int(minute == 10)
        elif self.case is Case.CHURN and minute % 60 == 30:
            self._change()

    def _change(self) -> None:
        alive = [member for member in self.honest if member.alive]
        for member in self.world.random.sample(alive[KNOWN:], min(len(self.special), len(alive) - KNOWN)):
            self.world.kill(member)
            newcomer = self.world.add([first.name for first in self.first])
            newcomer.table.start()
            self.honest.append(newcomer)

    def known(self) -> tuple[list[float], list[int]]:
        """Of each honest one that is there how many percent it knows of the others, and how many that are not there."""
        alive = [member for member in self.honest if member.alive]
        names = {member.name for member in alive}
        real = {member.name for member in self.world.members if member.alive}
        known, false = [], []
        for member in alive:
            online = {peer.name for peer in member.table.known() if peer.state is State.ONLINE}
            known.append(100 * len(online & names) / (len(alive) - 1))
            false.append(len(online - real))
        return known, false

    def verdicts(self, kinds: Sequence[Verdict]) -> int:
        """How often honest peers have said one of these."""
        return sum(member.table.verdicts.get(kind, 0) for member in self.honest for kind in kinds)

    def end(self) -> None:
        """Nothing of it goes on."""
        for call in self.world.reactor.getDelayedCalls():
            call.cancel()


def measure(size: int, case: Case, share: float, minutes: int, seed: int) -> Found:
    """Let them find each other.

    :param size: peers in all
    :param share: how many of them are those of *case*, from 0 to 1
    :param minutes: virtual ones, at least 65; up to a multiple of five
    """
    minutes = -(-minutes // (STEP // 60)) * (STEP // 60)
    run = _Run(size, case, share, seed)
    run.start()
    begun = 60 if case is Case.CUT_OFF else 0
    reached: list[float] = []
    hour: dict[str, Any] = {}
    known: list[float] = []
    false: list[int] = []
    for minute in range(0, minutes, STEP // 60):
        run.happens(minute)
        if minute == minutes - 60:
            hour = {"carried": run.world.carried, "bad": run.verdicts(BAD), "refused": run.verdicts(LATE)}
        run.world.advance(STEP)
        known, false = run.known()
        enough = sum(percent >= 100 * ENOUGH for percent in known) >= ENOUGH * len(known)
        if enough and not reached and minute >= begun:
            reached.append(minute + STEP / 60 - begun)
    there, honest = sum(member.alive for member in run.world.members), len(known)
    found = Found(
        known,
        reached,
        [(run.world.carried - hour["carried"]) / there],
        false,
        [(run.verdicts(BAD) - hour["bad"]) / honest],
        [(run.verdicts(LATE) - hour["refused"]) / honest],
        [run.worked / max(1, run.world.announced)],
    )
    run.end()
    return found


def main(argv: Sequence[str]) -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.testing.peersfound", allow_abbrev=False)
    parser.add_argument("--peers", type=int, required=True, metavar="N")
    parser.add_argument("--case", choices=[case.value for case in Case], default=Case.LIARS.value)
    parser.add_argument("--percent", type=float, default=0.0, metavar="N", help="of the peers")
    parser.add_argument("--minutes", type=int, default=120, metavar="N", help="virtual ones, at least 65")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(argv)
    found = measure(options.peers, Case(options.case), options.percent / 100, options.minutes, options.seed)
    print(json.dumps(attrs.asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
