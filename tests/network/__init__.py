"""Whole networks in one process, in virtual time, without sockets."""
