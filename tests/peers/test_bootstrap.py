"""The document that names the first peers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import name, record
from torpydo.errors import BootstrapError
from torpydo.peers import MAX_DOCUMENT, Address, Document


class DocumentTests(SynchronousTestCase):
    """Reading and writing."""

    def test_round_trip(self) -> None:
        """What is written is read."""
        one = Document((Address(name(1), 80), Address(name(2))), (record(3), b""))
        self.assertEqual(Document.decode(one.encode()), one)

    def test_by_hand(self) -> None:
        """Each list may be left out; a name without a port has the reader's."""
        self.assertEqual(Document.decode(b' {"format": 1} '), Document())
        text = json.dumps({"format": 1, "names": [str(name()).upper(), f"{name(2)}:9"]}).encode()
        self.assertEqual(Document.decode(text, 7), Document((Address(name(), 7), Address(name(2), 9))))

    def test_at_most_a_hundred(self) -> None:
        """More are not written, and not read."""
        many = Document(tuple(Address(name(1), port) for port in range(1, 102)), (b"",) * 101)
        found = Document.decode(many.encode())
        self.assertEqual((len(found.names), len(found.records)), (100, 100))
        for wrong in ({"names": [str(name())] * 101}, {"records": [""] * 101}):
            self.assertRaises(BootstrapError, Document.decode, json.dumps({"format": 1, **wrong}).encode())

    def test_wrong_ones(self) -> None:
        """Each is refused in a sentence that says what is wrong with it."""
        for data, words in (
            (b"", "is not like"), (b"[]", "is not like"), (b"{}", "is not like"), (b'{"format": "1"}', "is not like"),
            (b'{"format": 1, "more": 1}', "is not like"), (b'{"format": 1, "names": [1]}', "is not like"),
            (b'{"format": 1, "records": ["' + b"A" * 400 + b'"]}', "is not like"), (b"\xff", "is not like"),
            (b'{"\x80":', "is not like"),
            (b'{"format": 2}', "update"), (b'{"format": 1, "names": ["example.org"]}', "one that is wrong"),
            (b'{"format": 1, "names": ["%s:0"]}' % str(name()).encode(), "port"),
            (b'{"format": 1, "records": ["*"]}', "base64"), (b'{"format": 1, "records": ["A"]}', "base64"),
            (b" " * (MAX_DOCUMENT + 1), "more than"), (b"[" * MAX_DOCUMENT, "is not like"),
        ):  # fmt: skip
            error = self.assertRaises(BootstrapError, Document.decode, data)
            self.assertIn(words, str(error))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """They are read or refused."""
        try:
            Document.decode(data)
        except BootstrapError:
            return
