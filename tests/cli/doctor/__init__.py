"""Tests of torpydo.cli.doctor."""
