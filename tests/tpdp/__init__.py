"""Tests of the core: codecs, pairs of links and whole chains of circuits, without Twisted's reactor."""
