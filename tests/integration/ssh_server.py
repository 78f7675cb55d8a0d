"""An SSH server for one user's key that repeats the command it is given. ``python ssh_server.py PORT HOSTKEY USERKEY``.

It uses nothing of torpydo: it is the program that an onion service is for.
"""

import sys

from twisted.conch.avatar import ConchUser
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.interfaces import ISession
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import SSHSession
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.python.components import registerAdapter
from zope.interface import implementer


class User(ConchUser):
    """Whoever has the key."""

    def __init__(self):
        super().__init__()
        self.channelLookup[b"session"] = SSHSession


@implementer(ISession)
class Repeat:
    """Says the command and ends."""

    def __init__(self, user):
        self.user = user

    def execCommand(self, protocol, command):
        """Say it."""
        transport = protocol.transport or protocol
        transport.write(b"you asked: " + command + b"\n")
        protocol.processEnded(Ended())

    def getPty(self, *ignored):
        """There is none."""

    def eofReceived(self):
        """Nothing is read."""

    def closed(self):
        """Nothing is kept."""


class Ended:
    """What a process that ended well looks like."""

    class value:  # noqa: N801
        """Its status."""

        exitCode = 0
        signal = None


@implementer(IRealm)
class Realm:
    """One kind of user."""

    def requestAvatar(self, name, mind, *interfaces):
        """Give it."""
        return interfaces[0], User(), lambda: None


registerAdapter(Repeat, User, ISession)
port, host_key, user_key = int(sys.argv[1]), Key.fromFile(sys.argv[2]), Key.fromFile(sys.argv[3])
factory = SSHFactory()
factory.publicKeys = {b"ssh-rsa": host_key.public()}
factory.privateKeys = {b"ssh-rsa": host_key}
factory.portal = Portal(Realm(), [SSHPublicKeyChecker(InMemorySSHKeyDB({b"somebody": [user_key]}))])
reactor.listenTCP(port, factory, interface="127.0.0.1")
reactor.run()
