"""Data sets made on the user's machine from what other packages install."""
