"""Tests of torpydo.cli.bench.scaleposts: answers out of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.scaleposts import Answers
from torpydo.errors import StreamFailed


class AnswersTests(SynchronousTestCase):
    """The statuses of HTTP answers."""

    @given(st.lists(st.tuples(st.sampled_from([200, 409, 503]), st.binary(max_size=20)), max_size=4), st.data())
    def test_answers_come_out_however_the_bytes_are_cut(
        self, answers: list[tuple[int, bytes]], data: st.DataObject
    ) -> None:
        """Bodies are passed over whole, whatever is in them."""
        sent = b"".join(
            b"HTTP/1.1 %d x\r\nServer: y\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            for status, body in answers
        )
        reader, found, place = Answers(), [], 0
        while place < len(sent):
            size = data.draw(st.integers(1, len(sent) - place))
            found += reader.receive_data(sent[place : place + size])
            place += size
        self.assertEqual(found, [status for status, _ in answers])

    def test_an_answer_without_a_length_is_refused(self) -> None:
        """Its end would never come on a connection that is kept."""
        self.assertRaises(StreamFailed, Answers().receive_data, b"HTTP/1.1 200 OK\r\n\r\n")
