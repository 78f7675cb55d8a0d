"""Which bytes an object still holds: for tests that something is forgotten."""

from __future__ import annotations

import gc
import types
from typing import Any


def held_bytes(root: object) -> set[bytes]:
    """Every piece of bytes that can be reached from *root*, through whatever refers to what.

    Not followed: classes, modules, and the globals of functions, through which everything can be reached.
    """
    seen: set[int] = set()
    found: set[bytes] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | types.ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray | memoryview):
            found.add(bytes(one))
        elif isinstance(one, types.FunctionType):
            waiting += [one.__defaults__, one.__kwdefaults__, *[cell.cell_contents for cell in one.__closure__ or ()]]
        else:
            waiting += gc.get_referents(one)
    return found
