"""Streaming edge inference beside a detector: what to do with the frames that `streams` brings in."""
