"""From what a detector sends to an image that a model may see: masks, calibration, orientation, geometry, selection.

Numpy only, and no clock, socket or thread: arrays in, arrays out.
"""
