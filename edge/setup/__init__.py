"""`edge init`: what a detector says of itself, and the first configuration for it."""
