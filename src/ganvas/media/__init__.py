"""Pixels and files: decode, encode, resize, color space, grids, video, provenance."""
