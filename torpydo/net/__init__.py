"""Thin Twisted adapters that decide nothing: links, streams, fetches, listings, and the state directory."""

from torpydo.net.backlog import BACKLOG, lengthen_backlog
from torpydo.net.buckets import Buckets, host_key
from torpydo.net.collector import settle_collector
from torpydo.net.console import ConsoleObserver, is_loopback_host
from torpydo.net.dialling import connect_link, link_endpoint, probe_link
from torpydo.net.directwrite import unwritten, write_now
from torpydo.net.fetch import Fetched, fetch
from torpydo.net.files import FileBudget, raise_file_limit
from torpydo.net.gate import Gate, GateRefusal
from torpydo.net.hardening import DEBUGGABLE, harden_process
from torpydo.net.keyfile import open_dh_key_file, open_key_file, read_dh_key_file
from torpydo.net.limits import Limit, Limits, limit
from torpydo.net.links import LinkFactory, LinkOwner, LinkProtocol, peer_address
from torpydo.net.listedpool import read_skew
from torpydo.net.listings import ListingRefresh
from torpydo.net.looplag import LoopLag
from torpydo.net.names import LooseResolver, Resolution
from torpydo.net.participants import Participants
from torpydo.net.quiet import LIMITED, QuietObserver, keep_quiet
from torpydo.net.refusals import Refusals
from torpydo.net.resets import was_reset
from torpydo.net.slices import Later, Slices
from torpydo.net.state import StateDirectory
from torpydo.net.steadyclock import use_steady_clock
from torpydo.net.streams import StreamCircuit, StreamTransport
from torpydo.net.threads import in_thread
from torpydo.net.turn import Turn
from torpydo.net.waiting import Holder, Queue, Waiting

__all__ = [
    "BACKLOG",
    "DEBUGGABLE",
    "LIMITED",
    "Buckets",
    "ConsoleObserver",
    "Fetched",
    "FileBudget",
    "Gate",
    "GateRefusal",
    "Holder",
    "Later",
    "Limit",
    "Limits",
    "LinkFactory",
    "LinkOwner",
    "LinkProtocol",
    "ListingRefresh",
    "LoopLag",
    "LooseResolver",
    "Participants",
    "Queue",
    "QuietObserver",
    "Refusals",
    "Resolution",
    "Slices",
    "StateDirectory",
    "StreamCircuit",
    "StreamTransport",
    "Turn",
    "Waiting",
    "connect_link",
    "fetch",
    "harden_process",
    "host_key",
    "in_thread",
    "is_loopback_host",
    "keep_quiet",
    "lengthen_backlog",
    "limit",
    "link_endpoint",
    "open_dh_key_file",
    "open_key_file",
    "peer_address",
    "probe_link",
    "raise_file_limit",
    "read_dh_key_file",
    "read_skew",
    "settle_collector",
    "unwritten",
    "use_steady_clock",
    "was_reset",
    "write_now",
]
