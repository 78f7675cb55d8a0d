"""Tests of the client: no sockets, a clock that tests move, circuits that tests build."""
