"""Latent space: walks, style mixing, projection of images.

Functions of a method and its capabilities (`core.protocols`). `inference.model.Model`
has them as methods; `inference.render` writes their images to files.
"""
