"""Tests of torpydo.apps.programs."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from torpydo.apps.programs import Program, ProgramRefusal


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class Endpoint:
    """Remembers who connects."""

    connecting: list[Deferred[Any]] = attrs.field(factory=list)

    def connect(self, factory: object) -> Deferred[Any]:
        """Like an endpoint's."""
        self.connecting.append(Deferred())
        return self.connecting[-1]


class ProgramTests(SynchronousTestCase):
    """A program as visitors meet it."""

    def setUp(self) -> None:
        self.endpoint = Endpoint()
        self.refused: list[ProgramRefusal] = []
        self.free = 1
        self.program = Program(self.endpoint, self.refused.append, self.grant)

    def grant(self) -> bool:
        self.free -= 1
        return self.free >= 0

    def connect(self) -> Deferred[Any]:
        return self.program.connect(Factory.forProtocol(Protocol))

    def test_it_listens(self) -> None:
        """The visitor has it, and there is nothing to tell."""
        verifyObject(IStreamClientEndpoint, self.program)
        connected = self.connect()
        self.endpoint.connecting[0].callback("protocol")
        self.assertEqual(self.successResultOf(connected), "protocol")
        self.assertEqual(self.refused, [])

    def test_it_does_not_run(self) -> None:
        """Whoever runs the service hears of it, and the visitor as well."""
        connected = self.connect()
        self.endpoint.connecting[0].errback(ConnectionRefusedError())
        self.failureResultOf(connected, ConnectionRefusedError)
        self.assertEqual(self.refused, [ProgramRefusal.SERVICE_PROGRAM])

    def test_no_file_descriptor_is_left(self) -> None:
        """What is left is for logs, state and pools (SECURITY D4)."""
        self.connect()
        self.failureResultOf(self.connect(), ConnectError)
        self.assertEqual(len(self.endpoint.connecting), 1)
        self.assertEqual(self.refused, [ProgramRefusal.SERVICE_FILES])

    def test_a_visitor_who_gives_up(self) -> None:
        """The attempt ends, and the program is not blamed."""
        connected = self.connect()
        connected.cancel()
        self.failureResultOf(connected, CancelledError)
        self.free = 1
        connected = self.connect()
        self.endpoint.connecting[1].errback(ConnectingCancelledError(None))
        self.failureResultOf(connected, ConnectingCancelledError)
        self.assertEqual(self.refused, [])
