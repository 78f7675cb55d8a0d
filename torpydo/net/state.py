"""The state directory: private, locked, and written so that a crash leaves the old file or the new one.

Keys, cached listings and databases live here and nowhere else. Whoever could write to the directory, to one of
its parents or to a file could become this node or pool, so what looks wrong is refused, never repaired
(SECURITY X1-X3). Called by client, node and pool.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable
from typing import Final, Self

from twisted.python.filepath import FilePath

from torpydo.crypto import KEY_SIZE, DHSecretKey, Secret, SigningKey
from torpydo.errors import StateError
from torpydo.net.keyfile import check_private, decode_key, encode_key, file_error

__all__ = ["StateDirectory"]

_LOCK: Final = "lock"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
_MAX_READ: Final = 64 * 1024 * 1024
"""Bytes. Nothing that is read whole comes near it; a file that does is not ours."""

class StateDirectory:
    """A private directory that one process uses at a time; made by :meth:`open`.

    All files are opened relative to the directory's descriptor: moving the directory away under a running process
    does not make it write elsewhere.
    """

    def __init__(self, path: str, directory: int, lock: int) -> None:
        self._path = path
        self._directory = directory
        self._lock = lock

    @classmethod
    def open(cls, path: str | FilePath[str]) -> Self:
        """Open the directory, making it if it is missing, and lock it.

        :raises StateError: if it is not private, not ours, not a directory, unwritable, or in use
        """
        absolute = _absolute(path)
        directory = _open_private(absolute, make=True)
        try:
            lock = _take_lock(absolute, directory)
        except BaseException:
            os.close(directory)
            raise
        return cls(absolute, directory, lock)

    @classmethod
    def look(cls, path: str | FilePath[str]) -> Self:
        """Open a directory that another process may be using, to read from it and nothing else.

        :raises StateError: if it is missing, not private, not ours, or not a directory
        """
        absolute = _absolute(path)
        return cls(absolute, _open_private(absolute, make=False), -1)

    def close(self) -> None:
        """Let another process have the directory. Twice does no harm."""
        lock, self._lock = self._lock, -1
        directory, self._directory = self._directory, -1
        for descriptor in (lock, directory):
            if descriptor >= 0:
                os.close(descriptor)

    def path(self, name: str) -> str:
        """The full path of a file, for messages and for libraries that open files themselves."""
        if not _NAME.fullmatch(name):
            raise StateError(f"{name!r} cannot be the name of a file in {self._path}")
        return os.path.join(self._path, name)

    def is_used(self) -> bool:
        """Whether somebody has it open; for a directory that is only looked at.

        :raises StateError: if that cannot be told
        """
        try:
            lock = os.open(_LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise file_error(os.path.join(self._path, _LOCK), error) from error
        try:
            # Shared, and only for this moment: those who look do not keep each other out.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def faults(self) -> list[StateError]:
        """What is wrong with files in it, one error for each that others may read or change."""
        found = []
        try:
            for name in sorted(os.listdir(self._directory)):
                try:
                    status = os.lstat(name, dir_fd=self._directory)
                except FileNotFoundError:
                    # Who runs here has renamed or removed it a moment ago.
                    continue
                # Sockets have a mode of their own, and what is beside them is no file.
                if stat.S_ISREG(status.st_mode):
                    try:
                        check_private(os.path.join(self._path, name), status, stat.S_IFREG)
                    except StateError as error:
                        found.append(error)
        except OSError as error:
            found.append(file_error(self._path, error))
        return found

    # -- Files

    def read(self, name: str) -> bytes | None:
        """The whole content of a file, ``None`` if there is none.

        :raises StateError: if it is not a private file of ours, or cannot be read
        """
        path = self.path(name)
        try:
            with os.fdopen(self._open(name, os.O_RDONLY), "rb") as file:
                # Before anything of it is in memory.
                if os.fstat(file.fileno()).st_size > _MAX_READ:
                    raise StateError(
                        f"{path}: it is larger than {_MAX_READ} bytes, so torpydo did not write it; move it away"
                    )
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise file_error(path, error) from error

    def write(self, name: str, data: bytes) -> None:
        """Replace a file: afterwards it holds *data*, and before that what it held, whenever power fails (SECURITY X2).

        :raises StateError: if that is impossible; the old file is intact then, or the new one is there and may be lost
            when power fails
        """
        path = self.path(name)
        # A leftover of a crash can be removed: the lock says that nobody is writing it now.
        temporary = f".{name}.new"
        try:
            self._unlink(temporary)
            self._write_new(temporary, data)
            self._rename(temporary, name)
        except OSError as error:
            self._forget(temporary)
            raise file_error(path, error) from error

    def set_aside(self, name: str) -> str:
        """Rename a file that is of no use so that a new one can take its place; an older one set aside is lost.

        :return: the full path that it has now
        :raises StateError: if that is impossible; nothing of it is lost then
        """
        path, aside = self.path(name), f"{name}.bad"
        try:
            self._rename(name, aside)
        except OSError as error:
            raise file_error(path, error) from error
        return self.path(aside)

    def delete(self, name: str) -> None:
        """Remove a file; it may be missing.

        :raises StateError: if that is impossible
        """
        path = self.path(name)
        try:
            self._unlink(name)
            os.fsync(self._directory)
        except OSError as error:
            raise file_error(path, error) from error

    def reserve(self, name: str) -> str:
        """Make an empty private file if there is none, for a library that opens files by path (SQLite).

        :return: its full path
        :raises StateError: if it is not a private file of ours, or cannot be made
        """
        path = self.path(name)
        try:
            os.close(self._open(name, os.O_RDWR | os.O_CREAT))
        except OSError as error:
            raise file_error(path, error) from error
        return path

    # -- Keys

    def signing_key(self, name: str, rng: Callable[[int], bytes]) -> SigningKey:
        """The Ed25519 key of a file, made when there is no file. See :meth:`key_bytes`."""
        return SigningKey(self.key_bytes(name, rng))

    def dh_key(self, name: str, rng: Callable[[int], bytes]) -> DHSecretKey:
        """The X25519 key of a file, made when there is no file. See :meth:`key_bytes`."""
        return DHSecretKey(self.key_bytes(name, rng))

    def key_bytes(self, name: str, rng: Callable[[int], bytes]) -> Secret:
        """The 32 secret bytes of a file, made when there is no file.

        :param rng: gives that many random bytes
        :raises StateError: if the file is torn or is not a key file: it is never replaced, because with it goes the
            identity that others have pinned
        """
        known = self.read_key(name)
        if known is not None:
            return known
        made = Secret(rng(KEY_SIZE))
        self.write_key(name, made)
        return made

    def read_key(self, name: str) -> Secret | None:
        """The 32 secret bytes of a file, ``None`` if there is no file.

        :raises StateError: if the file is torn or is not a key file
        """
        data = self.read(name)
        if data is None:
            return None
        return decode_key(self.path(name), data)

    def write_key(self, name: str, secret: Secret) -> None:
        """Replace a key file; for keys that are rotated.

        :raises StateError: if that is impossible; the old file is intact then
        """
        self.write(name, encode_key(secret))

    # -- Below

    def _open(self, name: str, flags: int) -> int:
        # O_NONBLOCK: opening a FIFO that somebody left here must not hang.
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags, 0o600, dir_fd=self._directory)
        try:
            check_private(os.path.join(self._path, name), os.fstat(descriptor), stat.S_IFREG)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _write_new(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._directory)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rename(self, name: str, other: str) -> None:
        os.rename(name, other, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)

    def _forget(self, temporary: str) -> None:
        try:
            self._unlink(temporary)
        except OSError:
            # The next write removes it, or says why that is impossible.
            return

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            pass


def _absolute(path: str | FilePath[str]) -> str:
    return path.path if isinstance(path, FilePath) else os.path.abspath(os.path.expanduser(path))


def _open_private(path: str, *, make: bool) -> int:
    try:
        if make:
            _make(path)
        _check_parents(path)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        # O_DIRECTORY is looked at before O_NOFOLLOW: a link is "not a directory" too.
        if error.errno == errno.ENOTDIR and os.path.islink(path):
            error.errno = errno.ELOOP
        raise file_error(path, error) from error
    try:
        check_private(path, os.fstat(directory), stat.S_IFDIR)
    except BaseException:
        os.close(directory)
        raise
    return directory


def _make(path: str) -> None:
    if os.path.lexists(path):
        return
    _make(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def _check_parents(path: str) -> None:
    """Refuse a path that another user could turn into another one."""
    given = os.path.dirname(path)
    for start in dict.fromkeys((given, os.path.realpath(given))):
        parent = start
        while True:
            _check_parent(path, parent)
            if parent == os.path.dirname(parent):
                break
            parent = os.path.dirname(parent)


def _check_parent(path: str, parent: str) -> None:
    status = os.lstat(parent)
    if status.st_uid not in (0, os.geteuid()):
        raise StateError(f"{path}: {parent} belongs to another user; choose a directory below one of your own")
    # Who may write to a parent may put another directory here, except below a sticky one such as /tmp.
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)
    if writable and not status.st_mode & stat.S_ISVTX:
        raise StateError(f"{path}: others may write to {parent}; run chmod go-w {parent}, or choose another directory")


def _take_lock(path: str, directory: int) -> int:
    # flock, not lockf: it survives the forks of a process that becomes a daemon after opening.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(_LOCK, flags, 0o600, dir_fd=directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(lock)
            raise
    except BlockingIOError:
        raise StateError(f"{path}: another process is using it; stop that one, or choose another directory") from None
    except OSError as error:
        raise file_error(path, error) from error
    return lock
