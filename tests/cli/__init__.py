"""Tests of the ``torpydo`` command."""
