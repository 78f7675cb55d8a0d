"""The document by which somebody who knows nobody comes to know a few (docs/protocol-peers, Bootstrap).

It is JSON, to be written by hand or by a program, and handed out by any web server. Whoever hands it out says whom to
ask first, and nothing more: records in it are checked like all others, and names are nothing but names to dial.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Annotated, Final, Self

import attrs
import msgspec

from torpydo.errors import BootstrapError, OnionNameError
from torpydo.peers.presence import MAX_RECORD, PORT
from torpydo.peers.visits import Address

__all__ = ["MAX_DOCUMENT", "Document"]

MAX_DOCUMENT: Final = 64 * 1024
"""Bytes."""
MOST: Final = 100
"""Names, and records, in one."""

_Name = Annotated[str, msgspec.Meta(max_length=320)]
_Record = Annotated[str, msgspec.Meta(max_length=(MAX_RECORD + 2) // 3 * 4)]


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document as it is written."""

    format: int
    names: Annotated[list[_Name], msgspec.Meta(max_length=MOST)] = []
    records: Annotated[list[_Record], msgspec.Meta(max_length=MOST)] = []


_DECODER: Final = msgspec.json.Decoder(_Form)


@attrs.frozen
class Document:
    """Whom to ask first.

    :ivar names: to dial
    :ivar records: each may be one or not, as the table will see
    """

    names: tuple[Address, ...] = ()
    records: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """``{"format": 1, "names": ["NAME.torpydo:PORT", ...], "records": ["base64", ...]}``."""
        records = [b64encode(record).decode() for record in self.records[:MOST]]
        return msgspec.json.encode(_Form(1, [str(name) for name in self.names[:MOST]], records))

    @classmethod
    def decode(cls, data: bytes, port: int = PORT) -> Self:
        """Read one.

        :param port: of names without one
        :raises BootstrapError: if it is none, with the reason
        """
        if len(data) > MAX_DOCUMENT:
            raise BootstrapError(f"the document that names peers has more than {MAX_DOCUMENT} bytes")
        try:
            form = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BootstrapError(
                'the document that names peers is not like {"format": 1, "names": [...], "records": [...]};'
                f" each list has at most {MOST} entries"
            ) from None
        if form.format != 1:
            raise BootstrapError("the document that names peers is of a format that is not known; is there an update?")
        try:
            names = tuple(Address.parse(name, port) for name in form.names)
        except OnionNameError as error:
            raise BootstrapError(f"the document that names peers has one that is wrong: {error}") from None
        try:
            records = tuple(b64decode(record, validate=True) for record in form.records)
        except ValueError:
            raise BootstrapError("the document that names peers has a record that is not base64") from None
        return cls(names, records)
