"""Fetch pages with treq: web.py POOL_URL URL [URL ...]"""

import sys

import treq
from twisted.internet.task import react

from torpydo.client import Client


def progress(percent, tag, summary):
    print(f"{percent:3d}% {summary}", file=sys.stderr)


async def main(reactor, pool, *urls):
    client = await Client.create(reactor, [pool], state_dir=None, progress=progress)
    try:
        agent = client.web_agent()
        for url in urls:
            response = await treq.get(url, agent=agent)
            print(response.code, url, len(await response.content()), "bytes")
    finally:
        await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
