"""Relativistic average GAN for ganvas."""
