"""Tests of the benchmark: that it counts and calculates rightly, never how fast anything is."""
