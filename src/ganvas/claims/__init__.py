"""Claims of papers as reproducible experiments, one file per claim."""

from __future__ import annotations

import importlib
import pkgutil

from ganvas.claims import experiments
from ganvas.claims.claim import Check, Claim, Finding, Words

__all__ = ["Check", "Claim", "Finding", "Words", "all_claims"]


def all_claims() -> dict[str, Claim]:
    """Claims by name, in the order of the files in `experiments`."""
    modules = (
        importlib.import_module(f"{experiments.__name__}.{m.name}")
        for m in pkgutil.iter_modules(experiments.__path__)
    )
    claims = [module.CLAIM for module in modules]
    return {claim.name: claim for claim in claims}
