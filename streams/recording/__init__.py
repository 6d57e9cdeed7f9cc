"""Captures: the raw messages of a source on disk, byte for byte."""
