"""Tests of torpydo.cli.bench.dialing: what needs no proxy."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.dialing import Dialer
from torpydo.errors import StreamFailed


class RequestTests(SynchronousTestCase):
    """What the proxy is asked for."""

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def asked(self, dialer: Dialer, answer: bytes) -> bytes:
        """What a proxy hears that answers so."""
        self.far.sendall(answer)
        dialer.request(self.near)
        return self.far.recv(100)

    def test_this_machine(self) -> None:
        """Is asked for by its address."""
        asked = self.asked(Dialer(80, 9050), bytes.fromhex("05000001 00000000 0000"))
        self.assertEqual(asked, bytes.fromhex("05010001 7f000001 0050"))

    def test_a_name(self) -> None:
        """Is given to the proxy, who alone knows it; the answer may be of any kind."""
        asked = self.asked(Dialer(80, 9050, host="a.torpydo"), bytes.fromhex("05000004") + bytes(18))
        self.assertEqual(asked, bytes.fromhex("05010003 09") + b"a.torpydo" + bytes.fromhex("0050"))

    def test_a_refusal(self) -> None:
        """Says its number, and nothing stays open."""
        error = self.assertRaises(StreamFailed, self.asked, Dialer(80, 9050), bytes.fromhex("05040001") + bytes(6))
        self.assertIn("error 4", str(error))
        self.assertEqual(self.near.fileno(), -1)

    def test_straight(self) -> None:
        """The destination itself is on this machine, whatever name leads to it."""
        self.assertEqual(Dialer(80, 9050, 4000, "a.torpydo").straight(), Dialer(4000))
