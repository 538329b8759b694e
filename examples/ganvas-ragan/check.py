"""Check that the recipe fulfills the contract of ganvas, with small networks on the CPU."""

from ganvas_ragan.recipe import ragan

import ganvas

ganvas.check_method(ragan, set=["G.width=4", "D.width=4", "data.size=16", "batch=4"])
print("ragan fulfills the contract")
