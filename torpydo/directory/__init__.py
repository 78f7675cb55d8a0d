"""The directory: descriptors, heartbeats, listings, a client's view of the network, and path choice.

No I/O, clock or randomness of its own. Only what is named here is used from outside this room.
"""

from torpydo.directory.agreement import PoolView
from torpydo.directory.descriptor import (
    MAX_AGE,
    MAX_DESCRIPTOR,
    REPUBLISH_AFTER,
    Descriptor,
    Services,
    check_descriptor_times,
    parse_descriptor,
    sign_descriptor,
)
from torpydo.directory.guards import GuardBias, GuardSample
from torpydo.directory.heartbeat import (
    MAX_HEARTBEAT,
    Heartbeat,
    HeartbeatAnswer,
    parse_heartbeat,
    sign_heartbeat,
)
from torpydo.directory.listing import (
    GRACE,
    LISTING_LIFE,
    MAX_LISTING,
    MAX_NODES,
    STAMP_BITS,
    TEST_NETWORK,
    Listing,
    ListingEntry,
    Parameter,
    listing_etag,
    parse_listing,
    peek_pool_id,
    sign_listing,
)
from torpydo.directory.netdir import ANY_PORT, NetDir, majority
from torpydo.directory.path import MAX_HOPS, check_path, check_view, choose_path
from torpydo.directory.policy import ExitPolicy
from torpydo.directory.poolurl import PoolURL
from torpydo.directory.ranges import is_local, is_loopback, is_private
from torpydo.directory.vanguards import VanguardSet

__all__ = [
    "ANY_PORT",
    "GRACE",
    "LISTING_LIFE",
    "MAX_AGE",
    "MAX_DESCRIPTOR",
    "MAX_HEARTBEAT",
    "MAX_HOPS",
    "MAX_LISTING",
    "MAX_NODES",
    "REPUBLISH_AFTER",
    "STAMP_BITS",
    "TEST_NETWORK",
    "Descriptor",
    "ExitPolicy",
    "GuardBias",
    "GuardSample",
    "Heartbeat",
    "HeartbeatAnswer",
    "Listing",
    "ListingEntry",
    "NetDir",
    "Parameter",
    "PoolURL",
    "PoolView",
    "Services",
    "VanguardSet",
    "check_descriptor_times",
    "check_path",
    "check_view",
    "choose_path",
    "is_local",
    "is_loopback",
    "is_private",
    "listing_etag",
    "majority",
    "parse_descriptor",
    "parse_heartbeat",
    "parse_listing",
    "peek_pool_id",
    "sign_descriptor",
    "sign_heartbeat",
    "sign_listing",
]
