"""Tests of the keys, boxes and derivations, with the vectors of an independent program."""
