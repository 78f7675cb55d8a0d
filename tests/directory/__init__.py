"""Tests of the directory: pure values in, pure values out."""
