"""Show, copy or restore the identity of a node, a pool or an onion service, or make the key of an invited client.

Whoever has the key file, or a copy of it, can pretend to be the node, the pool or the service.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from datetime import UTC, datetime
from typing import Any

from torpydo.cli.backupfile import KEY_FILES, MAX_SIZE, Backup, public_text
from torpydo.crypto import Secret, SigningKey
from torpydo.errors import ConfigurationError, StateError
from torpydo.net import StateDirectory, open_dh_key_file
from torpydo.onion import client_key_text
from torpydo.pool import raise_sequence, saved_sequence

__all__ = ["arguments", "run"]

DATABASE = "pool.db"
# A service has no directory to write to but its own, and what root keeps is not for its user to read.
_MAY_NOT = "name a file where the user who runs this may write, such as in the state directory"
_READ_REMEDIES = {
    errno.ENOENT: "check the name; a relative one begins where this was started",
    errno.EACCES: "give the file to the user who runs this, and name it where that one may look for it",
    errno.EISDIR: "name the file in it",
}
_WRITE_REMEDIES = {
    errno.EEXIST: "name a new file, or move that one away",
    errno.ENOENT: "make the directory first, or name another one",
    errno.ENOTDIR: "what stands before it is a file; name a directory",
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.EROFS: "name a file on a disk that can be written to",
    errno.ENOSPC: "free some space on the disk, or name a file on another one",
    errno.EDQUOT: "free some space on the disk, or name a file on another one",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo identity``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print node id, pool key or service name", allow_abbrev=False)
    backup = actions.add_parser("backup", help="copy the identity to a new file", allow_abbrev=False)
    restore = actions.add_parser("restore", help="put a copy into a state directory", allow_abbrev=False)
    show.add_argument("file", metavar="FILE", nargs="?", help="a backup to show instead of a state directory")
    show.add_argument("--state-dir", metavar="DIR", help="where the key is; it may be in use")
    backup.add_argument("file", metavar="FILE", help="the copy; it must not exist yet")
    backup.add_argument("--state-dir", metavar="DIR", required=True, help="where the key is; it may be in use")
    restore.add_argument("file", metavar="FILE", help="the copy")
    restore.add_argument("--state-dir", metavar="DIR", required=True, help="made if it is missing; not running")
    client = actions.add_parser("client", help="print the public half of a client's key", allow_abbrev=False)
    client.add_argument("file", metavar="FILE", help="the key; made if it is missing")
    for action in (backup, restore):
        action.add_argument("--passphrase-file", metavar="FILE", help="its first line seals or opens the copy")


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        remedy = _READ_REMEDIES.get(error.errno or 0, "check the disk, or take another copy of the file")
        raise StateError(f"{path}: the {what} cannot be read: {error.strerror}; {remedy}") from error
    if len(data) > MAX_SIZE:
        raise StateError(f"{path}: it is too large to be a {what}")
    return data


def _backup_in(path: str) -> Backup:
    return Backup.decode(_read(path, "backup").decode("ascii", "replace"), path)


def _passphrase(path: str | None) -> Secret | None:
    if path is None:
        return None
    lines = _read(path, "passphrase").splitlines()
    if not lines or not lines[0]:
        raise ConfigurationError(f"--passphrase-file={path}: its first line is empty")
    return Secret(lines[0])


def _identity(state: StateDirectory, directory: str) -> tuple[str, SigningKey] | None:
    """Which identity is in a directory; ``None`` if there is none."""
    found = [(kind, key) for kind, name in KEY_FILES.items() if (key := state.read_key(name)) is not None]
    if len(found) > 1:
        kinds = " and of a ".join(kind for kind, _ in found)
        raise StateError(f"{directory}: it has the keys of a {kinds}; each needs a directory of its own")
    return None if not found else (found[0][0], SigningKey(found[0][1]))


def _look(directory: str) -> tuple[str, SigningKey, int]:
    """Kind, key and sequence of a directory, which may be in use."""
    state = StateDirectory.look(directory)
    try:
        found = _identity(state, directory)
        if found is None:
            raise StateError(f"{directory}: there is no {' and no '.join(KEY_FILES.values())} in it")
        kind, key = found
        return kind, key, saved_sequence(state.path(DATABASE)) if kind == "pool" else 0
    finally:
        state.close()


def _show(options: argparse.Namespace) -> None:
    if (options.file is None) == (options.state_dir is None):
        raise ConfigurationError("name either --state-dir=DIR or the FILE of a backup")
    if options.file is not None:
        backup = _backup_in(options.file)
        if not backup.is_sealed:
            backup.key(None, options.file)
        sealed = ", sealed with a passphrase" if backup.is_sealed else ""
        print(f"{backup.kind} {backup.public}\nbackup of {backup.made}{sealed}")
        return
    kind, key, _ = _look(options.state_dir)
    print(f"{kind} {public_text(kind, key)}")


def _write(path: str, data: bytes) -> None:
    made = False
    try:
        # Nobody else's from its first byte on, and never in the place of another file.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        made = True
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if made:
            os.unlink(path)
        remedy = _WRITE_REMEDIES.get(error.errno or 0, "check the disk, or name a file on another one")
        raise StateError(f"{path}: the backup cannot be written: {error.strerror}; {remedy}") from error


def _backup(options: argparse.Namespace) -> None:
    kind, key, sequence = _look(options.state_dir)
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    passphrase = _passphrase(options.passphrase_file)
    text = Backup.make(kind, key, made=made, sequence=sequence, passphrase=passphrase, rng=os.urandom).encode()
    _write(options.file, text.encode())
    print(f"{kind} {public_text(kind, key)}\nbackup written to {options.file}")
    if passphrase is None:
        warning = f"the secret key is in {options.file}: whoever reads it can pretend to be this {kind}"
        print(f"torpydo: {warning}; keep it off this machine, or seal it with --passphrase-file", file=sys.stderr)


def _restore(options: argparse.Namespace) -> None:
    backup = _backup_in(options.file)
    key = backup.key(_passphrase(options.passphrase_file), options.file)
    state = StateDirectory.open(options.state_dir)
    try:
        found = _identity(state, options.state_dir)
        if found is not None and (found[0], found[1].public) != (backup.kind, key.public):
            raise StateError(
                f"{options.state_dir}: it holds another identity, the {found[0]} {public_text(*found)}, which is never"
                " overwritten; choose an empty directory"
            )
        if backup.kind == "pool":
            # First: a pool that has its key and not its sequence could go back.
            raise_sequence(state.reserve(DATABASE), backup.sequence)
        if found is None:
            state.write_key(KEY_FILES[backup.kind], key.seed)
    finally:
        state.close()
    print(f"{backup.kind} {backup.public}\n{'restored to' if found is None else 'is already in'} {options.state_dir}")


def _client(options: argparse.Namespace) -> None:
    print(client_key_text(open_dh_key_file(options.file, os.urandom).public))


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Do what was asked for."""
    {"show": _show, "backup": _backup, "restore": _restore, "client": _client}[options.action](options)
    return 0
