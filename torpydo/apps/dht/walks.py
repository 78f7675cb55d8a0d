"""Carries the questions of a participant to those whom they are for, and their answers back."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from torpydo.client import Questions
from torpydo.dht import Asked, Contact, Participant
from torpydo.errors import TorpydoError

__all__ = ["Walks"]

T = TypeVar("T")


class Walks:
    """The walks of one participant.

    :param reactor: keeps time
    :param participant: says whom to ask what
    :param questions: asks
    :param isolated: whether each walk has circuits of its own: two targets on one circuit would be known to be one's
    :param slow: seconds without an answer after which another one is asked meanwhile
    :ivar silent: how many questions in a row, up to now, have had none
    """

    def __init__(
        self, reactor: Any, participant: Participant, questions: Questions, *, isolated: bool, slow: float
    ) -> None:
        self._reactor = reactor
        self._slow_after = slow
        self.participant = participant
        self._questions = questions
        self._isolated = isolated
        self._asking = False
        self.silent = 0

    def go_on(self) -> None:
        """Ask what is to be asked now; to be called after whatever may have begun a walk."""
        # What fails at once calls this again from within, and there may be thousands of them when the circuits end.
        if self._asking:
            return
        self._asking = True
        try:
            while questions := self.participant.take_questions():
                for asked in questions:
                    self._ask(asked)
        finally:
            self._asking = False

    def _ask(self, asked: Asked) -> None:
        isolation = asked.walk if self._isolated else None
        answer = self._questions.ask(asked.contact.node_id, asked.data, isolation)
        late = self._reactor.callLater(self._slow_after, self._late, asked)
        answer.addBoth(self._cancel, late)
        answer.addCallbacks(self._heard, self._silent, callbackArgs=(asked,), errbackArgs=(asked,))

    def _late(self, asked: Asked) -> None:
        self.participant.slow(asked)
        self.go_on()

    @staticmethod
    def _cancel(result: T, late: IDelayedCall) -> T:
        if late.active():
            late.cancel()
        return result

    def _heard(self, answer: bytes, asked: Asked) -> None:
        self.silent = 0
        self.participant.heard(asked, answer)
        self.go_on()

    def _silent(self, failure: Failure, asked: Asked) -> None:
        failure.trap(TorpydoError)
        self.silent += 1
        self.participant.silent(asked)
        self.go_on()

    def probe(self, contact: Contact) -> None:
        """See whether *contact* answers; if it does it is in the table, or waits for room there."""
        participant = self.participant
        participant.nodes(participant.contacts.place, lambda found: None, [contact], most=1)
        self.go_on()

    def close(self) -> None:
        """Give up what is under way."""
        self.participant.drop_tasks()
        self._questions.close()
