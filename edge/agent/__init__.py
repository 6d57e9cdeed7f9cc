"""Adaptive sampling: where to measure next. Imports no Bluesky, no sockets and nothing of the data plane.

Only `service` knows threads and clocks; all else is arithmetic on what it was told.
"""
