"""Files with a secret key: how they look, and those that stand alone, outside a state directory.

Called by state, and by whoever is given the key of an onion service.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from typing import Final

from torpydo.crypto import KEY_SIZE, DHSecretKey, Secret, SigningKey, document_hash, same
from torpydo.errors import StateError

__all__ = [
    "check_private",
    "decode_key",
    "encode_key",
    "file_error",
    "open_dh_key_file",
    "open_key_file",
    "read_dh_key_file",
]

_MAGIC: Final = b"torpydo key 1\n"
_MAX_READ: Final = 4096
"""Bytes; a key file has 78."""

_REMEDIES: Final = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space on the disk",
    errno.EROFS: "choose a directory on a disk that can be written to",
    errno.EACCES: "give it to the user who runs torpydo, or choose another directory",
    errno.EPERM: "give it to the user who runs torpydo, or choose another directory",
    errno.ELOOP: "it is a symbolic link; name what it points to",
    errno.ENOTDIR: "it or something above it is a file; move that away, or choose another directory",
    errno.ENOENT: "something above it leads nowhere; make that directory, or choose another one",
}


def file_error(path: str, error: OSError) -> StateError:
    """What went wrong with a file, and what helps."""
    remedy = _REMEDIES.get(error.errno or 0, "check the disk, or choose another directory")
    return StateError(f"{path}: {os.strerror(error.errno or 0)}; {remedy}")


def encode_key(secret: bytes) -> bytes:
    """The content of a key file: a first line, 32 secret bytes, a checksum."""
    return _MAGIC + secret + document_hash(_MAGIC + secret)


def decode_key(path: str, data: bytes) -> Secret:
    """The 32 secret bytes of a key file.

    :param path: for the error
    :raises StateError: if it is torn or is none
    """
    seed = data[len(_MAGIC) : len(_MAGIC) + KEY_SIZE]
    if not same(data, encode_key(seed)):
        raise StateError(
            f"{path}: the key file is torn or is not torpydo's; put a backup in its place, or move it"
            " away to start with a new key, which means a new identity"
        )
    return Secret(seed)


def open_key_file(path: str, rng: Callable[[int], bytes]) -> SigningKey:
    """The Ed25519 key of a file that stands alone; made when there is no file.

    :raises StateError: if it cannot be read or made, others may read it, or it is no key file
    """
    return SigningKey(_open(path, rng))


def open_dh_key_file(path: str, rng: Callable[[int], bytes]) -> DHSecretKey:
    """The X25519 key of such a file."""
    return DHSecretKey(_open(path, rng))


def read_dh_key_file(path: str) -> DHSecretKey:
    """The X25519 key of such a file, which must be there: somebody else has been told its public half.

    :raises StateError: if it is not there, cannot be read, others may read it, or it is no key file
    """
    return DHSecretKey(_open(path, None))


def _open(path: str, rng: Callable[[int], bytes] | None) -> Secret:
    path = os.path.abspath(os.path.expanduser(path))
    try:
        data = _read(path)
        if data is None:
            if rng is None:
                raise StateError(f"{path}: there is no such file; check the name, or put the key file there")
            data = encode_key(rng(KEY_SIZE))
            try:
                _make(path, data)
            except FileExistsError:
                # Somebody else has made it meanwhile: that is the key.
                data = _read(path) or b""
    except OSError as error:
        raise file_error(path, error) from error
    return decode_key(path, data)


def _read(path: str) -> bytes | None:
    try:
        # O_NONBLOCK: opening a FIFO that somebody left here must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        check_private(path, os.fstat(descriptor), stat.S_IFREG)
        return os.read(descriptor, _MAX_READ)
    finally:
        os.close(descriptor)


def _make(path: str, data: bytes) -> None:
    # Whole or not at all, and never in the place of one that somebody else has made meanwhile.
    temporary = f"{path}.{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        os.unlink(temporary)
    # Without this a power failure could take away a key that others know already.
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def check_private(path: str, status: os.stat_result, kind: int) -> None:
    """See that a file or directory is this user's alone.

    :raises StateError: if it is not
    """
    if status.st_uid != os.geteuid():
        raise StateError(f"{path}: it belongs to another user; run torpydo as that user, or choose another directory")
    if stat.S_IFMT(status.st_mode) != kind:
        raise StateError(f"{path}: it is not a regular file; move it away")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = "700" if kind == stat.S_IFDIR else "600"
        raise StateError(f"{path}: others may read or change it; run chmod {mode} {path}")
    # Root could go on, and would leave files that the next user of the directory cannot replace.
    if kind == stat.S_IFDIR and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        raise StateError(f"{path}: it is read-only; run chmod 700 {path}, or choose another directory")
