"""Build data sets on the user's machine."""
