"""Architectures, one family a file, and the layers that they share."""
