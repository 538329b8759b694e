"""Measures of generated images.

Each names its source; each result carries the protocol under which it was taken.
"""
