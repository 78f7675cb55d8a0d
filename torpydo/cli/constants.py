"""What commands and the small processes of the benchmark share. Imports nothing: some of those processes are many."""

from __future__ import annotations

from typing import Final

__all__ = ["LOOPBACK", "MEGABYTE"]

LOOPBACK: Final = "127.0.0.1"
MEGABYTE: Final = 1_000_000
