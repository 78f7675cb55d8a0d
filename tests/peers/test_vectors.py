"""The vectors of an independent program (tests/peers/independent): byte for byte."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.independent import vectors
from tests.tpdp.vectors import load
from torpydo.crypto import Secret, SigningKey
from torpydo.onion import OnionName
from torpydo.peers import Claim, Hello, Presence, Records, Role, Search, Table, Verdict, Want, frame


def raw(text: str) -> bytes:
    """Bytes of a vector."""
    return bytes.fromhex(text)


class VectorTests(SynchronousTestCase):
    """Each part."""

    def setUp(self) -> None:
        self.vectors = load("peers")

    def made(self, case: dict[str, Any]) -> Presence:
        """The record of a case."""
        key = SigningKey(Secret(raw(case["seed"])))
        claim = Claim(
            key.public, case["topic"].encode(), Role(case["roles"]), case["timestamp"], case["life"], case["port"],
            raw(case["note"]),
        )  # fmt: skip
        made = Search(Presence.make(claim, key), case["difficulty"], raw(case["start"])).go_on(100_000)
        assert made is not None
        return made

    def test_the_program_makes_them(self) -> None:
        """What is kept is what the program writes."""
        self.assertEqual(vectors(), self.vectors)

    def test_records(self) -> None:
        """Work, signature and bytes; each is read, and holds."""
        for case in self.vectors["records"]:
            made = self.made(case)
            self.assertEqual((made.nonce.hex(), made.encode().hex()), (case["nonce"], case["record"]))
            found = Presence.decode(raw(case["record"]))
            self.assertTrue(found.has_work(case["difficulty"]))
            self.assertEqual(found.check(), OnionName.of(SigningKey(Secret(raw(case["seed"])))))

    def test_messages(self) -> None:
        """Frames, and the digest of a table that has these records."""
        found, records = self.vectors["messages"], [raw(case["record"]) for case in self.vectors["records"]]
        digest = b""
        for case in self.vectors["records"]:
            table = Table(
                case["topic"].encode(), None, 0, clock=lambda: 0.0,
                wall_clock=lambda case=case: float(case["timestamp"]), randbelow=lambda number: 0,
            )  # fmt: skip
            self.assertIs(table.offer(raw(case["record"]), b"source"), Verdict.STORED)
            digest += table.digest(raw(found["salt"]))
        self.assertEqual(digest.hex(), found["digest"])
        self.assertEqual(frame(Hello(records[0])).hex(), found["hello"])
        self.assertEqual(frame(Hello()).hex(), found["hello_without_a_name"])
        self.assertEqual(frame(Want(found["count"], raw(found["salt"]), digest)).hex(), found["want"])
        self.assertEqual(frame(Records(tuple(records))).hex(), found["answer"])
