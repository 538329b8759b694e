"""The notebooks of examples/ run from their first cell to their last, and hold no outputs.

They are committed without outputs: after a toy's training these would show figures and
images that nobody should compare, and every run would change the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import LIMIT

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (extra dev)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (extra dev)")
pytest.importorskip("ipykernel", reason="needs a kernel, ipykernel (extra dev)")

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
NAMES = ("photographs", "translation", "upscaling")


def test_every_notebook_is_run_here() -> None:
    assert sorted(NAMES) == sorted(f.stem for f in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook: Any = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [c.source for c in cells if c.outputs or c.execution_count], "clear the outputs"
    nbclient.NotebookClient(
        notebook, timeout=LIMIT, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # raises for a cell that fails
    shown = [output for cell in cells for output in cell.outputs]
    assert [o for o in shown if "image/png" in o.get("data", {})], "no image is shown"
    text = "".join(o.text for o in shown if o.get("name") == "stdout")
    assert ("frechet" if name == "photographs" else "dB") in text
    assert (tmp_path / "work" / name / "run" / "report.html").is_file()
