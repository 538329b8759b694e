"""Least Squares GAN for ganvas."""
