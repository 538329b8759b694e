"""Data sets that ship with the package; their licenses lie beside them."""
