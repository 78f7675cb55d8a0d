"""``torpydo pool``, ``node``, ``client`` and ``service``: twistd in the foreground with the same options.

They exist for installations that show only torpydo's own script, and because they say what is wrong with an option
in one line. Everything else is twistd's and the tap's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs
from twisted.internet.error import CannotListenError
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.scripts.twistd import runApp

from torpydo.errors import TorpydoError

__all__ = ["SERVICES", "Service", "run_service"]


@attrs.frozen
class Service:
    """A twistd command that torpydo brings."""

    name: str
    summary: str

    @property
    def twistd_name(self) -> str:
        """What twistd calls it."""
        return f"torpydo-{self.name}"


SERVICES = {
    service.name: service
    for service in (
        Service("pool", "run a pool index"),
        Service("node", "run a node"),
        Service("client", "run SOCKS and HTTP proxies into the network"),
        Service("service", "let local programs be an onion service"),
    )
}


def run_service(service: Service, arguments: Sequence[str]) -> int:
    """Run *service* until it is stopped.

    Always in the foreground and without a pid file: two services may share a directory.

    :returns: the exit status
    """
    # twistd sends what is printed later to its log.
    err = sys.stderr
    options = ServerOptions()
    try:
        options.parseOptions(["--nodaemon", "--pidfile=", service.twistd_name, *arguments])
        runApp(options)
    except UsageError as error:
        print(f"torpydo: {error}; see 'torpydo {service.name} --help'", file=err)
        return 2
    except TorpydoError as error:
        print(f"torpydo: {error}", file=err)
        return error.exit_status
    except CannotListenError as error:
        print(f"torpydo: {error}", file=err)
        return 3
    return 0
