"""The HTTP server of every process that answers HTTP: bounded in all a client can make it hold, TLS, bearer tokens."""
