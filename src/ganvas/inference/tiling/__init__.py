"""Exact tiled inference for images that do not fit in memory."""
