"""What was learned, looked at: walks through the latent space, styles mixed, images taken back. Functions of a method and its
skills (`core.py`); `bundle.Model` has them by name, `using.py` writes their pictures."""
