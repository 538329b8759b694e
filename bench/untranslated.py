"""Measure the distance of two domains before translation.

    python bench/untranslated.py A,B --out FILE [--size 64] [--count 2000]
        [--features squeezenet] [--weights FOLDER]

Computes the figures of `ganvas measure` for a model that changes nothing: A's images
against B's, and B's against A's. The distances of a translating model are to be
compared with these.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from origin import origin

from ganvas import data
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.suite import filled, measure_samples


def main() -> None:
    parser = argparse.ArgumentParser(description="The distance between two domains.")
    parser.add_argument("domains")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--features", default="squeezenet")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    extract = extractor(args.features, args.weights)
    feed = data.domains(args.domains, size=args.size, flip=False)
    found: dict[str, object] = {**origin()}
    for to in "ba":
        other = "a" if to == "b" else "b"
        real = filled(
            FeatureSet(extract, "real"), (getattr(b, to) for b in feed.batches(64, side=to))
        )
        # At random, as `ganvas measure` chooses the inputs: files are often sorted by
        # content.
        n = min(args.count, feed.info.counts[other])
        fake = (getattr(feed.draw(i, min(64, n - i), seed=0), other) for i in range(0, n, 64))
        measured: dict[str, Any] = measure_samples(fake, real, extract)
        found[f"to {to}"] = {k: measured[k] for k in ("values", "intervals", "protocol")}
    args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
