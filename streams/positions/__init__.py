"""Scan positions, joined to images by id. Pure: no clock, no socket."""
