"""Check that the recipe fulfills the contract of ganvas, with small networks on the CPU."""

from ganvas_lsgan.recipe import lsgan

import ganvas

ganvas.check_method(lsgan, set=["G.width=4", "D.width=4", "data.size=16", "batch=4"])
print("lsgan fulfills the contract")
