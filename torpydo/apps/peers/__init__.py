"""Peers of one application find each other over onion services."""

from torpydo.apps.peers.needs import PeerClient
from torpydo.apps.peers.peertable import PeerTable
from torpydo.peers import PORT, Change, Peer, Presence, Role, State, Verdict, Verified

__all__ = ["PORT", "Change", "Peer", "PeerClient", "PeerTable", "Presence", "Role", "State", "Verdict", "Verified"]
