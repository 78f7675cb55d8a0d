"""What the doctor sees without asking anybody: versions, file descriptors, and the state directory.

Nothing is made or changed. Called by command.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Container
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import attrs

from torpydo import __version__
from torpydo.cli.backupfile import KEY_FILES, public_text
from torpydo.cli.doctor.findings import STATE, Findings
from torpydo.crypto import NodeId, SigningKey, aegis_supported
from torpydo.errors import StateError
from torpydo.net import StateDirectory

__all__ = ["Home", "is_used", "look_at_files", "look_at_state", "look_at_versions"]

FEW_FILES: Final = 1024
MANY_FILES: Final = 8192
"""File descriptors that a client or a pool, and a node, should be allowed."""
LITTLE_SPACE: Final = 16 * 1024 * 1024
"""Bytes that should be free where the state is: a listing has as many at the most."""
CPU: Final = "/proc/cpuinfo"


@attrs.frozen
class Home:
    """Whose state directory it is.

    :ivar kind: ``node`` or ``pool``; ``None``: a client's, or nobody's yet
    :ivar node_id: of a node
    """

    kind: str | None = None
    node_id: NodeId | None = None


def look_at_versions(findings: Findings, cpu: str = CPU) -> None:
    """The programs that torpydo consists of, and whether links get the fast cipher."""
    packages = [f"{title} {_version(name)}" for title, name in (("Twisted", "twisted"), ("PyNaCl", "pynacl"))]
    known = ", ".join([f"torpydo {__version__}", f"Python {platform.python_version()}", *packages])
    findings.ok("versions", f"{known} (with the libsodium that PyNaCl brings)")
    try:
        with open(cpu, encoding="ascii", errors="replace") as file:
            flags = file.read()
    except OSError:
        findings.ok("cipher", "AEGIS-256 is there; whether this processor is fast at it cannot be told")
        return
    if aegis_supported(flags):
        findings.ok("cipher", "AEGIS-256, and a processor with the instructions for it")
    else:
        findings.warn(
            "cipher", "AEGIS-256 is there, but this processor has no instructions for it",
            "an old processor, or a virtual machine that hides what it has",
            "let the virtual machine see the processor's AES; links work without it and are slower",
        )  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def look_at_files(findings: Findings, home: Home, told: int = 0) -> None:
    """How many file descriptors a process may have (SECURITY D4).

    :param told: how many the process that runs says it may have; 0: it does not say, so the shell's limit is looked at
    """
    _, most = (0, told) if told else resource.getrlimit(resource.RLIMIT_NOFILE)
    who = "what runs with this state directory" if told else "a process that this shell starts"
    wanted = MANY_FILES if home.kind == "node" else FEW_FILES
    if most == resource.RLIM_INFINITY or most >= wanted:
        words = "any number" if most == resource.RLIM_INFINITY else str(most)
        findings.ok("file descriptors", f"{who} may have {words}")
    else:
        findings.warn(
            "file descriptors", f"{who} may have {most}, which is little",
            "each link and each stream of an exit needs one, and some are kept in reserve",
            f"LimitNOFILE=65536 in the unit, or ulimit -n {wanted} in the shell that starts it",
        )  # fmt: skip


def look_at_state(findings: Findings, directory: str) -> Home:
    """Whether a state directory can be used, and whose it is (SECURITY X1, X3)."""
    path = os.path.abspath(os.path.expanduser(directory))
    try:
        os.lstat(path)
    except FileNotFoundError:
        findings.warn(
            "state directory", f"{path} does not exist", "nothing was started with it yet, or its name is mistyped",
            "compare it with the --state-dir of what runs; it is made at the first start",
        )  # fmt: skip
        return Home()
    except OSError as error:
        findings.problem(
            "state directory", f"{path}: it cannot be looked at: {error.strerror}",
            "something above it is no directory, or one that this user may not look into",
            "run the doctor as the user who runs torpydo, and check the path", status=STATE,
        )  # fmt: skip
        return Home()
    try:
        state = StateDirectory.look(path)
    except StateError as error:
        _refused(findings, error)
        return Home()
    try:
        faults = state.faults()
        for fault in faults:
            _refused(findings, fault)
        space = os.statvfs(path)
        if space.f_bavail * space.f_frsize < LITTLE_SPACE:
            findings.warn(
                "state directory", f"there is little space on the disk of {path}", "the disk is full",
                "free some; what cannot be saved is lost at the next start",
            )  # fmt: skip
        return _whose(findings, state, path, {str(fault) for fault in faults})
    finally:
        state.close()


def _whose(findings: Findings, state: StateDirectory, path: str, told: Container[str]) -> Home:
    home = Home()
    for kind, name in KEY_FILES.items():
        try:
            seed = state.read_key(name)
        except StateError as error:
            if str(error) not in told:
                _refused(findings, error, "what is in it is not what was written: a disk that failed, or a bad copy")
            continue
        if seed is not None:
            key = SigningKey(seed)
            findings.ok("state directory", f"{path}: the {kind} {public_text(kind, key)}")
            home = Home(kind, key.node_id if kind == "node" else None)
    if home.kind is None:
        findings.ok("state directory", f"{path}: no identity in it; a client needs none")
    return home


def is_used(directory: str) -> bool | None:
    """Whether something runs with a state directory; ``None`` if that cannot be told."""
    path = os.path.abspath(os.path.expanduser(directory))
    if not os.path.lexists(path):
        return False
    try:
        state = StateDirectory.look(path)
    except StateError:
        return None
    try:
        return state.is_used()
    except StateError:
        return None
    finally:
        state.close()


def _refused(
    findings: Findings,
    error: StateError,
    cause: str = "it is refused as it is: whoever could change it could become this node or pool",
) -> None:
    what, _, remedy = str(error).rpartition("; ")
    if isinstance(error.__cause__, OSError):
        cause = "the system does not give it to this user: its owner, its mode, or the disk"
    findings.problem("state directory", what or remedy, cause, remedy, status=STATE)
