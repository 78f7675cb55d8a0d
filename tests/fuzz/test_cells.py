"""The entry points for cells find an end that says what nobody could open or read (SECURITY V1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing.fuzz import TARGETS
from torpydo.testing.fuzz.corpus import load
from torpydo.testing.fuzz.target import Finding
from torpydo.tpdp import OriginCircuit, TransitCircuit, ends, exitend, originend
from torpydo.tpdp.constants import MAC_SIZE
from torpydo.tpdp.messages import Extend, encode_message


def flipped(place: int) -> Callable[[bytes], bytes]:
    """Changes one bit of a body."""

    def flip(body: bytes) -> bytes:
        spoiled = bytearray(body)
        spoiled[place] ^= 1
        return bytes(spoiled)

    return flip


class SpoiledTests(SynchronousTestCase):
    """The end under test is made to break its promise; the inputs that are kept must show it."""

    def spoil_cells(self, kind: type[OriginCircuit] | type[TransitCircuit], change: Callable[[bytes], bytes]) -> None:
        """Every cell that such a circuit sends is changed."""
        original: Any = kind.cells_to_send

        def spoiled(circuit: Any, now: float) -> list[tuple[int, bytes]]:
            return [(command, change(body)) for command, body in original(circuit, now)]

        self.patch(kind, "cells_to_send", spoiled)

    def assert_found(self, name: str) -> None:
        """Some input fails, and it says that what was said is wrong."""
        found = []
        for data in load(TARGETS[name]):
            try:
                TARGETS[name].run(data)
            except Finding as finding:
                found.append(str(finding))
        self.assertTrue(found)
        self.assertTrue(all("is not as it must be" in text for text in found), found)

    def test_a_bit_of_the_mac(self) -> None:
        """A cell that does not open: a backward MAC comes first, a forward one last."""
        self.spoil_cells(TransitCircuit, flipped(0))
        self.assert_found("cells-node")
        self.spoil_cells(OriginCircuit, flipped(-MAC_SIZE))
        self.assert_found("cells-client")

    def test_a_bit_of_the_rest(self) -> None:
        """The same, in what the MAC is of."""
        self.spoil_cells(TransitCircuit, flipped(-1))
        self.assert_found("cells-node")
        self.spoil_cells(OriginCircuit, flipped(-MAC_SIZE - 1))
        self.assert_found("cells-client")

    def test_a_message_that_is_none(self) -> None:
        """A cell that opens, and whose payload cannot be read."""
        for module in (ends, exitend, originend):
            self.patch(module, "encode_message", lambda kind, stream, data=b"": encode_message(99, stream, data))
        self.assert_found("cells-node")
        self.assert_found("cells-client")

    def test_an_extend_that_is_none(self) -> None:
        """A message whose form is that of an EXTEND, but for its data."""
        original = Extend.encode
        self.patch(Extend, "encode", lambda extend: original(extend)[:-1])
        self.assert_found("cells-client")
