"""Tests of torpydo.client.firstdata."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.client import FirstData
from torpydo.errors import LocalProtocolError


class FirstDataTests(SynchronousTestCase):
    """Bytes before a stream is open."""

    def test_goes_out_when_asked_for(self) -> None:
        """What is there goes in one piece, what comes later as it comes."""
        sent: list[bytes] = []
        first = FirstData(b"GET ")
        first.add(b"/ ")
        first.attach(sent.append)
        first.add(b"HTTP")
        self.assertEqual(sent, [b"GET / ", b"HTTP"])

    def test_nothing_sends_nothing(self) -> None:
        """An empty one is no reason for a message."""
        sent: list[bytes] = []
        FirstData().attach(sent.append)
        self.assertEqual(sent, [])

    def test_all_of_it_goes_again(self) -> None:
        """Another circuit gets everything from the beginning."""
        first, second = list[bytes](), list[bytes]()
        data = FirstData(b"one ")
        data.attach(first.append)
        data.add(b"two ")
        data.detach()
        data.add(b"three")
        data.attach(second.append)
        self.assertEqual((first, second), ([b"one ", b"two "], [b"one two three"]))

    def test_has_a_limit(self) -> None:
        """Not more than the credit of a new stream."""
        first = FirstData(bytes(FirstData.most))
        self.assertEqual(first.room, 0)
        self.assertRaises(LocalProtocolError, first.add, b"x")
        self.assertRaises(LocalProtocolError, FirstData, bytes(FirstData.most + 1))

    def test_belongs_to_one_stream(self) -> None:
        """Neither two at a time nor one after it can have it, and nothing is added to a stream that is open."""
        first = FirstData(b"GET /")
        first.attach(lambda data: None)
        self.assertRaises(LocalProtocolError, first.check_free)
        first.detach()
        first.check_free()
        first.finish()
        self.assertRaises(LocalProtocolError, first.check_free)
        self.assertRaises(LocalProtocolError, first.add, b"x")

    @given(st.lists(st.one_of(st.binary(max_size=8), st.none()), max_size=12))
    def test_the_last_circuit_has_everything(self, steps: list[bytes | None]) -> None:
        """Whenever it moves to another circuit, that one gets every byte once and in order."""
        data = FirstData()
        sent: list[bytes] = []
        data.attach(sent.append)
        expected = b""
        for step in steps:
            if step is None:
                data.detach()
                sent = []
                data.attach(sent.append)
            else:
                data.add(step)
                expected += step
        self.assertEqual((b"".join(sent), data.size), (expected, len(expected)))
