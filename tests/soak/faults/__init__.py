"""The faults of a soak, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Sequence

from tests.soak.bed import Fault
from tests.soak.faults.ends import Frozen, KilledInTransfer, Shutdown, Signals, Starved
from tests.soak.faults.floods import CreateStorm, FileShortage, OpenedAndReset, Slowloris, SlowlorisOfServices
from tests.soak.faults.loads import IdleCircuits, LongTransfer, ManyStreams, MemoryShortage

__all__ = ["ALL", "QUICK", "choose"]

ALL: Sequence[Fault] = (
    Signals(), KilledInTransfer(), ManyStreams(), OpenedAndReset(), Slowloris(), SlowlorisOfServices(), CreateStorm(),
    FileShortage(), MemoryShortage(), Starved(), Shutdown(), LongTransfer(), IdleCircuits(), Frozen(),
)  # fmt: skip
QUICK: Sequence[Fault] = (Signals(), KilledInTransfer(), ManyStreams(), OpenedAndReset())


def choose(text: str) -> Sequence[Fault]:
    """Read ``all``, ``quick``, ``none``, or numbers with commas between them.

    :raises ValueError: if one of them is not here
    """
    if text in ("all", "quick", "none"):
        return {"all": ALL, "quick": QUICK, "none": ()}[text]
    wanted = text.split(",")
    unknown = set(wanted) - {fault.number for fault in ALL}
    if unknown:
        raise ValueError(f"no fault has the number {', '.join(sorted(unknown))}")
    return [fault for fault in ALL if fault.number in wanted]
