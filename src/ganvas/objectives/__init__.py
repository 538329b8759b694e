"""Losses and penalties as formulas, without control flow."""
