"""The programs in examples/ run as their first lines say, and write a picture."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_learns_and_draws(example: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    result = subprocess.run(
        [sys.executable, "-W", "error", str(example), "--out", str(picture)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    losses = [float(loss) for loss in re.findall(r"loss +([\d.]+)", result.stdout)]
    assert losses[0] > 100 > 1 > losses[-1]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_the_pictures_of_the_tour_are_drawn(tmp_path: Path) -> None:
    pictures = EXAMPLES[0].parent.parent / "docs" / "pictures"
    result = subprocess.run(
        [sys.executable, "-W", "error", str(pictures / "draw.py"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in pictures.glob("*.png"))
    tour = (pictures.parent / "tour.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(pictures/(\w+\.png)\)", tour)) == drawn
