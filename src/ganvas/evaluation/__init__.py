"""Measure a model against data: records, comparison, diagnostics, report."""
