"""Secrets that must not be seen, and the places where they would be: for the tests of SECURITY I1.

A :class:`Plant` is looked for in every form that a person or a library might print bytes in, whole and as a beginning.
"""

from __future__ import annotations

import gc
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogPublisher
from zope.interface import implementer

from torpydo.crypto import DHSecretKey, Secret, SigningKey
from torpydo.tpdp.handshake import ClientHandshake, HandshakeKeys
from torpydo.tpdp.layers import Layer
from torpydo.tpdp.link import Link
from torpydo.tpdp.records import RecordOpener, RecordSealer

BEGINNING = 10
"""Bytes of a key that are enough to have shown it."""


@attrs.frozen
class Plant:
    """A secret.

    :ivar name: what it is
    :ivar forms: the texts in which it would be recognised
    """

    name: str
    forms: frozenset[str]

    @classmethod
    def of_bytes(cls, name: str, raw: bytes) -> Plant:
        """Key material, or what went through a stream."""
        begin = bytes(raw[:BEGINNING])
        # Of the encodings only the digits that depend on nothing that follows.
        forms = {begin.hex(), begin.hex().upper(), repr(begin)[2:-1], begin.decode("latin-1")}
        forms |= {repr(list(begin))[1:-1], b64encode(begin[:9]).decode(), urlsafe_b64encode(begin[:9]).decode()}
        forms |= {b32encode(begin).decode(), b32encode(begin).decode().lower()}
        return cls(name, frozenset(forms))

    @classmethod
    def of_text(cls, text: str) -> Plant:
        """A name, an address, a port."""
        return cls(text, frozenset({text, text.encode().hex(), b64encode(text.encode()).decode()}))

    def is_in(self, text: str) -> bool:
        """Whether it can be read there."""
        return any(form in text for form in self.forms)


def found(plants: Iterable[Plant], texts: Iterable[str]) -> list[tuple[str, str]]:
    """Which secrets can be read, and where."""
    everything = list(texts)
    whole = "\n".join(everything)
    return [
        (plant.name, next(text for text in everything if plant.is_in(text))[:2000])
        for plant in plants
        if plant.is_in(whole)
    ]


def live_keys() -> dict[bytes, str]:
    """All key material that objects of torpydo hold at this moment: what it is, by its bytes."""
    keys: dict[bytes, str] = {}
    for thing in [one for one in gc.get_objects() if type(one) in _HOLDERS]:
        for name, raw in _keys_of(thing):
            # What was dropped is empty, and zeros are no key.
            if len(raw) >= BEGINNING and any(raw):
                keys[bytes(raw)] = f"{type(thing).__name__}: {name}"
    return keys


_HOLDERS = frozenset((SigningKey, DHSecretKey, HandshakeKeys, ClientHandshake, Link, Layer, RecordSealer, RecordOpener))


def _keys_of(thing: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(thing, Layer):
        yield "key", thing._key
    elif isinstance(thing, RecordSealer | RecordOpener):
        yield "key", thing._key
        yield "aegis key", thing._aegis
    else:
        yield from _secrets(thing)


def _secrets(thing: Any) -> Iterator[tuple[str, bytes]]:
    for field in attrs.fields(type(thing)):
        value = getattr(thing, field.name, None)
        if isinstance(value, Secret):
            yield field.name, value


def live_objects() -> list[object]:
    """All objects of torpydo's own classes that the collector knows, but for the doubles, and what is public anyway."""
    return [thing for thing in gc.get_objects() if _is_ours(getattr(type(thing), "__module__", ""))]


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith("torpydo.") and not module.startswith(_PUBLIC)


_PUBLIC = ("torpydo.testing.", "torpydo.directory.")


@implementer(ILogObserver)
class Everything:
    """An observer that writes down all that could be read of an event, and of which level it was."""

    LOUD = (LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)

    def __init__(self) -> None:
        self.quiet: list[str] = []
        self.loud: list[tuple[str, str]] = []
        self.formats: set[str] = set()

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTraceback=True, includeTimestamp=True, includeSystem=True)
        failure = event.get("log_failure")
        if failure is not None:
            text += failure.getTraceback(detail="verbose") + failure.getTraceback() + repr(failure)
        # The fields, too: an observer that writes JSON shows all of them, asked for by the text or not.
        for name, value in event.items():
            if not name.startswith("log_"):
                text += f" {name}={value!r} {value}"
        self.formats.add(str(event.get("log_format")))
        if event.get("log_level") in self.LOUD:
            self.loud.append((str(event.get("log_namespace", "")), text))
        else:
            self.quiet.append(text)

    def start(self) -> None:
        """Hear everything from now on."""
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Hear nothing more."""
        globalLogPublisher.removeObserver(self)

    @property
    def texts(self) -> list[str]:
        """Everything of every level."""
        return [*self.quiet, *(text for _, text in self.loud)]
