"""The agent as a process of its own: an experiment asks over ZeroMQ, and every answer is on disk before it is given."""
