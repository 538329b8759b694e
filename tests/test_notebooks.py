"""The notebooks of examples/ run from their first cell to their last, and hold no outputs.

They are committed without outputs: after a toy's training these would show figures and
images that nobody should compare, and every run would change the files.
"""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import pytest
from processes import LIMIT

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (extra dev)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (extra dev)")
pytest.importorskip("ipykernel", reason="needs a kernel, ipykernel (extra dev)")

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
# Before each: no name of another notebook, and few samples, as in conftest.py.
FRESH = """%reset -f
from ganvas.training import probe
probe.IMAGES = 64
del probe"""
NAMES = ("photographs", "translation", "upscaling")


def test_every_notebook_is_run_here() -> None:
    assert sorted(NAMES) == sorted(f.stem for f in FOLDER.glob("*.ipynb"))


def test_notebooks_run_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one kernel, because its imports take longest."""
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebooks: dict[str, Any] = {
        name: nbformat.read(FOLDER / f"{name}.ipynb", as_version=4) for name in NAMES
    }
    cells = {n: [c for c in book.cells if c.cell_type == "code"] for n, book in notebooks.items()}
    every = [cell for own in cells.values() for cell in own]
    assert not [c.source for c in every if c.outputs or c.execution_count], "clear the outputs"
    whole = notebooks[NAMES[0]]
    whole.cells = [
        cell for own in cells.values() for cell in (nbformat.v4.new_code_cell(FRESH), *own)
    ]
    nbclient.NotebookClient(
        whole, timeout=LIMIT, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # raises for a cell that fails
    with warnings.catch_warnings():
        # The kernel has ended, but jupyter_client does not always read its exit status.
        warnings.filterwarnings("ignore", "subprocess .* is still running", ResourceWarning)
        gc.collect()
    for name, own in cells.items():
        shown = [output for cell in own for output in cell.outputs]
        assert [o for o in shown if "image/png" in o.get("data", {})], f"{name} shows no image"
        text = "".join(o.text for o in shown if o.get("name") == "stdout")
        assert ("frechet" if name == "photographs" else "dB") in text, name
        assert (tmp_path / "work" / name / "run" / "report.html").is_file()
