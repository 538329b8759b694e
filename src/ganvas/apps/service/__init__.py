"""Serve models over HTTP: `ganvas serve MODEL...` (extra `serve`)."""
