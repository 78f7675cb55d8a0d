"""A circuit that goes on, at the rendezvous node, into another one: its two builders are its two ends.

Source: docs/protocol-onion, section Joined circuits. Made by origin; called by client/circuits.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.constants import EARLY
from torpydo.tpdp.ends import CircuitEnd
from torpydo.tpdp.events import Cell, EndEvent
from torpydo.tpdp.layers import Layer, OriginLayers

EndT = TypeVar("EndT", bound=CircuitEnd)


class JoinedCircuit(Generic[EndT]):
    """A joined circuit at one of its ends.

    :param layers: of this end's hops
    :param far: the layer that the other end puts on
    :ivar end: what speaks to the other end
    """

    def __init__(self, layers: OriginLayers, far: Layer, end: EndT) -> None:
        self._layers = layers
        self._far = far
        self.end = end

    def receive_cells(self, cells: list[Cell], now: float) -> list[EndEvent]:
        """Take the cells of one read.

        :raises TorpydoError: at anything that is not right; the circuit must be destroyed then
        """
        for command, body in cells:
            if command == EARLY:
                raise RemoteProtocolError("a backward EARLY cell")
            payload, tag = self._layers.open_joined(command, body, self._far)
            self.end.receive_payload(command, payload, tag, now)
        return self.end.take_events()

    def cells_to_send(self, now: float) -> list[Cell]:
        """All cells that may go out now."""
        return self.end.cells_to_send(now)
