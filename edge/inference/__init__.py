"""The inference server: its models, its life, and the client that sends it frames."""
