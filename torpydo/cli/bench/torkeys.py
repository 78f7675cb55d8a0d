"""What is made before a private tor network can start: the programs are found, keys made, fingerprints read."""

from __future__ import annotations

import os
import re
from shutil import which
from typing import Any

import attrs
from twisted.python.filepath import FilePath

from torpydo.cli.bench.torrc import Authority
from torpydo.cli.processes import ChildProcesses
from torpydo.errors import ConfigurationError, TorpydoError

__all__ = ["TorPrograms", "make_authority", "make_relay"]

PRIVATE = 0o700
# The keys are gone with their directory, and months are the smallest unit.
LIFETIME = "1"
PASSPHRASE = b"bench\n"


@attrs.frozen
class TorPrograms:
    """Where the two programs are."""

    tor: str
    gencert: str

    @classmethod
    def find(cls, path: str | None = None) -> TorPrograms:
        """Look for them.

        :param path: directories, as in the environment; by default the process's, and where systems put daemons
        :raises ConfigurationError: if one is not installed
        """
        if path is None:
            path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        found = {name: which(name, path=path) for name in ("tor", "tor-gencert")}
        missing = [name for name, place in found.items() if place is None]
        if missing:
            raise ConfigurationError(
                f"--against-tor needs the program {missing[0]!r}, which is not installed; install the package 'tor'"
                " (on Debian: apt-get install tor), or leave --against-tor out"
            )
        return cls(str(found["tor"]), str(found["tor-gencert"]))


async def _output(
    reactor: Any, directory: FilePath[str], name: str, program: str, *arguments: str, stdin: bytes = b""
) -> str:
    """Run *program* to its end; cancelling ends it.

    :param directory: what it says goes to a file there
    """
    processes = ChildProcesses(reactor, directory)
    child = processes.start_program(name, program, *arguments, stdin=stdin)
    try:
        await child.when_ended()
    finally:
        await processes.end()
    if child.ended_with != "exit status 0":
        raise TorpydoError(f"{program} failed ({child.ended_with}): {child.last_line()}; try it by hand with --help")
    return child.said()


def _hexadecimal(text: str, what: str) -> str:
    found = re.search(r"\b[0-9A-F]{40}\b", text)
    if found is None:
        raise TorpydoError(f"tor gave no {what}; this benchmark was made for tor 0.4.8 and later")
    return found[0]


async def _fingerprint(reactor: Any, programs: TorPrograms, directory: FilePath[str]) -> str:
    # It makes the keys of a relay too, so that the relay has nothing to do when it starts.
    nothing = directory.child("none").path
    said = await _output(
        reactor, directory.parent(), f"fingerprint of {directory.basename()}", programs.tor,
        "--quiet", "--ignore-missing-torrc", "-f", nothing, "--defaults-torrc", nothing, "--orport", "1",
        "--datadirectory", directory.path, "--dirauthority", "x 127.0.0.1:1 " + "f" * 40, "--list-fingerprint",
    )  # fmt: skip
    # Four digits at a time.
    return _hexadecimal(re.sub(r"(?<=[0-9A-F]{4}) (?=[0-9A-F]{4})", "", said), "fingerprint")


def _make(directory: FilePath[str]) -> None:
    directory.makedirs()
    directory.chmod(PRIVATE)


async def make_authority(
    reactor: Any, programs: TorPrograms, directory: FilePath[str], *, or_port: int, dir_port: int
) -> Authority:
    """Make the keys of an authority in its data directory.

    :param directory: does not exist yet; its name is the authority's
    """
    keys = directory.child("keys")
    _make(directory)
    _make(keys)
    certificate = keys.child("authority_certificate")
    await _output(
        reactor, directory.parent(), f"keys of {directory.basename()}", programs.gencert,
        "--create-identity-key", "-i", keys.child("authority_identity_key").path,
        "-s", keys.child("authority_signing_key").path, "-c", certificate.path,
        "-m", LIFETIME, "-a", f"127.0.0.1:{dir_port}", "--passphrase-fd", "0",
        stdin=PASSPHRASE,
    )  # fmt: skip
    said = certificate.getContent().decode("ascii")
    v3ident = _hexadecimal(said[said.find("\nfingerprint ") :], "certificate")
    return Authority(
        directory.basename(), or_port, dir_port, await _fingerprint(reactor, programs, directory), v3ident
    )


async def make_relay(reactor: Any, programs: TorPrograms, directory: FilePath[str]) -> str:
    """Make the keys of a relay in its data directory.

    :param directory: does not exist yet
    :returns: its fingerprint
    """
    _make(directory)
    return await _fingerprint(reactor, programs, directory)
