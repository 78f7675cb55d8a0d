"""Which subcommand, which exit status. A subcommand's module is loaded only when it was chosen.

A subcommand's module has ``arguments(parser)``, which adds its options, and ``run(reactor, options)``, a coroutine
function that returns the exit status. The three services are not such modules: they are twistd's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from torpydo import __version__
from torpydo.cli.running import run_to_end
from torpydo.cli.services import SERVICES, run_service

__all__ = ["COMMANDS", "CommandParser", "main"]

COMMANDS = {
    "demo": ("torpydo.cli.demo", "run a whole network on this machine and fetch a file through it"),
    "status": ("torpydo.cli.status", "show what a running client, node or pool is doing"),
    "fetch": ("torpydo.cli.fetch", "fetch an http or https URL through the network"),
    "expose": ("torpydo.cli.expose", "let a local program be an onion service"),
    "dht": ("torpydo.cli.dht", "keep and look for small signed items"),
    "path": ("torpydo.cli.path", "build a circuit to HOST:PORT and show it"),
    "doctor": ("torpydo.cli.doctor.command", "look for what is wrong, and say what helps"),
    "identity": ("torpydo.cli.identity", "show, copy or restore the identity of a node, a pool or a service"),
    "bench": ("torpydo.cli.bench.command", "measure the speed of a network on this machine"),
}


class CommandParser(argparse.ArgumentParser):
    """A parser whose complaint is one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"torpydo: {message}; see '{self.prog} --help'\n")


def _top_parser() -> CommandParser:
    rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
    rows += [(name, f"{service.summary} (twistd -n {service.twistd_name})") for name, service in SERVICES.items()]
    parser = CommandParser(
        prog="torpydo",
        usage="torpydo [--version] [--help] COMMAND [OPTION ...]",
        description="An onion-routing network.",
        epilog="commands:\n" + "\n".join(f"  {name:10}{summary}" for name, summary in rows)
        + "\n\n'torpydo COMMAND --help' shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"torpydo {__version__}")
    parser.add_argument("command", metavar="COMMAND", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments after the program's name; by default the process's
    :returns: the exit status: 0 done, 2 wrong usage, 130 interrupted, otherwise the error's own
    """
    top = _top_parser()
    try:
        chosen = top.parse_args(sys.argv[1:] if argv is None else list(argv))
        name, arguments = chosen.command, chosen.arguments
        if name is None:
            top.error("a command is missing")
        if name in SERVICES:
            return run_service(SERVICES[name], arguments)
        if name not in COMMANDS:
            top.error(f"unknown command {name!r}")
        command = import_module(COMMANDS[name][0])
        summary = str(command.__doc__).partition("\n")[0]
        parser = CommandParser(prog=f"torpydo {name}", description=summary, allow_abbrev=False)
        parser.add_argument("-v", "--verbose", action="store_true", help="show the log on stderr")
        command.arguments(parser)
        options = parser.parse_args(arguments)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 1
    except KeyboardInterrupt:
        print("torpydo: interrupted", file=sys.stderr)
        return 130
    return run_to_end(lambda reactor: command.run(reactor, options), verbose=options.verbose)
