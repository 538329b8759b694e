"""Many files through a translating model: every image at its own size, broken ones named, nothing overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ganvas import bundle, provenance
from ganvas.data.decode import EXTENSIONS
from ganvas.errors import UserError
from ganvas.masks import Masks


def translate_files(
    run: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    to: str | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
    masks: Masks | None = None,
) -> tuple[int, list[str]]:
    """Translate images and folders of images into `out`, as PNG under their own names. Returns (how many, "file: reason" of
    those that could not be read). Files already in `out` are kept and skipped: an interrupted call goes on where it was.

    `masks`: only what they mark is put back into the pictures, which stay as they are elsewhere."""
    files = list(_files(inputs))
    if not files:
        raise UserError(f"there are no images in {', '.join(map(str, inputs))}")
    names: dict[str, Path] = {}
    for file, name in files:
        if name in names:
            raise UserError(f"{names[name]} and {file} would both become {out / name}: translate them separately")
        names[name] = file
    model = bundle.load(run, checkpoint=checkpoint, device=device, precision=precision, backend=backend)
    out.mkdir(parents=True, exist_ok=True)
    made, skipped = 0, []
    for file, name in files:
        if (out / name).exists():
            skipped.append(f"{file}: {out / name} exists already")
            continue
        try:
            masked = masks.of(file, name) if masks else None
            image = model.translate(file, to=to)
            facts = model.facts
            if masked:
                image, facts = masked.put_back(image), facts | {"made": f"{masked.share:.1%} of the picture, by a mask"}
        except UserError as e:
            if isinstance(e, bundle.WrongUse) or len(files) == 1:
                raise
            skipped.append(str(e) if str(file) in str(e) else f"{file}: {e}")
            continue
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        provenance.save(image, out / name, source=file.name, **facts)
        made += 1
    return made, skipped


def _files(inputs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """(file, its name under the output folder)."""
    for path in inputs:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in EXTENSIONS and file.is_file():
                    yield file, str(file.relative_to(path).with_suffix(".png"))
        elif path.exists():
            yield path, f"{path.stem}.png"
        else:
            raise UserError(f"there is no file {path}")
