"""Fetch an http or https URL through the network.

The bytes go to a file that appears when it is whole, or to standard output; everything for people goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from twisted.python.url import URL

from torpydo.cli.circuits import build_for_port
from torpydo.cli.clients import client_arguments, open_client
from torpydo.cli.download import NO_URL, Answer, Download, EndpointFor, Target, download, read_url, request
from torpydo.cli.output import FileOutput, Output, standard_output
from torpydo.cli.progress import progress_on
from torpydo.cli.text import path_summary, rate, size
from torpydo.client import Client
from torpydo.errors import TorpydoError
from torpydo.onion import is_onion

__all__ = ["AnswerRefused", "arguments", "redirected", "run"]

MOST_REDIRECTS = 10


class AnswerRefused(TorpydoError):
    """The server did not give the file."""


def _url(text: str) -> Target:
    try:
        return read_url(text)
    except TorpydoError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo fetch``."""
    parser.add_argument("target", metavar="URL", type=_url)
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE (default, or '-': standard output)")
    client_arguments(parser)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def redirected(target: Target, location: str) -> Target:
    """Where the server that was asked for *target* sends us.

    :raises TorpydoError: if that is no place to go to
    """
    try:
        there = URL.fromText(target.url).click(location).asText()
    except NO_URL as error:
        raise AnswerRefused("the server redirects to something that is not a URL") from error
    if target.url.startswith("https:") and not there.startswith("https:"):
        raise AnswerRefused("the server redirects from https to http; fetch that URL itself if this is meant")
    return read_url(there)


async def _way(reactor: Any, client: Client, target: Target, hops: int) -> EndpointFor:
    """What can reach the target."""
    if is_onion(target.host):
        _say("path: to a rendezvous with the onion service")
        return client.endpoint
    built = await build_for_port(reactor, client, target.port, hops)
    _say(f"path: {path_summary(built.circuit.path)}")
    return built.circuit.endpoint


async def _answer(reactor: Any, client: Client, target: Target, hops: int) -> tuple[Answer, Target]:
    """The answer that has the file: redirections are followed, each through a circuit that can reach it."""
    for _ in range(MOST_REDIRECTS):
        answer = await request(reactor, await _way(reactor, client, target, hops), target)
        if answer.location is None:
            return answer, target
        answer.drop()
        target = redirected(target, answer.location)
        _say(f"redirected to {target.url}")
    raise AnswerRefused(f"the server redirects more than {MOST_REDIRECTS} times")


async def _fetch(reactor: Any, client: Client, options: argparse.Namespace, output: Output) -> Download:
    answer, target = await _answer(reactor, client, options.target, options.hops)
    if answer.response.code != 200:
        answer.drop()
        raise AnswerRefused(f"{target.host} answered {answer.status}; nothing was written")
    progress = progress_on(sys.stderr, answer.length)
    try:
        return await download(reactor, answer, target, output, progress)
    finally:
        progress.close()


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Fetch it."""
    to_stdout = options.output in (None, "-")
    # First of all: a file that cannot be written is known before the network is asked for anything.
    output = standard_output(reactor) if to_stdout else FileOutput(options.output)
    try:
        async with open_client(reactor, options) as client:
            came = await _fetch(reactor, client, options, output)
        await output.finish()
    finally:
        output.abandon()
    where = "" if to_stdout else f", written to {options.output}"
    _say(f"{size(came.size)} in {came.seconds:.2f} s, {rate(came.size, came.seconds)}{where}")
    return 0
