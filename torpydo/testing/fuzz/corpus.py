"""Where inputs are kept: a directory for each entry point, in it a file for each input, named after what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from torpydo.testing.fuzz.target import Target

__all__ = ["CORPUS", "input_name", "keep", "load"]

CORPUS: Final = Path(__file__).parents[3] / "tests" / "fuzz" / "corpus"
"""In a checkout: seeds, and every input that once was a finding."""


def input_name(data: bytes) -> str:
    """The name of an input's file: the first twelve hexadecimal digits of its SHA-256."""
    return sha256(data).hexdigest()[:12]


def keep(directory: Path, inputs: Iterable[bytes]) -> list[Path]:
    """Write *inputs* to a directory, which is made if it is missing; gives the files that are new."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for data in inputs:
        path = directory / input_name(data)
        if not path.exists():
            path.write_bytes(data)
            written.append(path)
    return written


def load(target: Target, corpus: Path = CORPUS) -> list[bytes]:
    """All inputs of an entry point that are kept."""
    directory = corpus / target.name
    return [path.read_bytes() for path in sorted(directory.iterdir())] if directory.is_dir() else []
