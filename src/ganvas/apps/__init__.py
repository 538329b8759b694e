"""Front ends without logic of their own."""
