"""Data sets that ship with the package; their licences lie beside them."""
