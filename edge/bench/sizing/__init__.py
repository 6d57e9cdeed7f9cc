"""What this machine takes: `edge bench ingest`, `pipeline`, `latency`, `soak` and `overload`."""
