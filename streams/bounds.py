"""Limits that sockets and codecs share; imports nothing, so that what only passes messages on starts without codecs."""

MAX_REQUEST_BYTES = 4096
"""Longest message that asks something of us (`streams.codecs.handshake`)."""

MAX_PARTS = 4096
"""Parts of one message. A Karabo train has two a source and two an array: a detector of 16 modules has some 500."""
