"""`edge watch`: what becomes of the frames, from the result stream and /metrics alone."""
