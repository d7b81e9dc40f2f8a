"""The Python blocks of README.md and of docs/ run, in order, as one program for each file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tahr as tf
from tahr.autodiff import registry
from tahr.backends.native import target
from tahr.core.opdef import OPS

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def program(text: str) -> str:
    """The Python blocks of a page, each on the lines on which it stands there, so that errors name those."""
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.fixture
def tables() -> Iterator[None]:
    """Forgets the ops and gradients that a page registers."""
    ops, gradients = dict(OPS), dict(registry._registered)
    yield
    OPS.clear()
    OPS.update(ops)
    registry._registered.clear()
    registry._registered.update(gradients)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    "file", [f for f in FILES if BLOCK.search(f.read_text(encoding="utf-8"))], ids=lambda f: f.name
)
def test_the_blocks_run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "backends.native" in file.read_text(encoding="utf-8") and not target.is_available():
        pytest.skip("llvmlite is not installed")
    monkeypatch.chdir(tmp_path)  # what a page writes, it writes here
    monkeypatch.setitem(os.environ, "MPLBACKEND", "agg")
    code = compile(program(file.read_text(encoding="utf-8")), str(file), "exec")
    with tf.Graph().as_default():
        exec(code, {"__name__": file.stem})


def test_the_first_program_learns(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    with tf.Graph().as_default():
        exec(compile(program(text), "README.md", "exec"), {"__name__": "readme"})
    found = re.search(r"loss ([\d.]+) -> ([\d.]+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) > 0.5 > 0.2 > float(found[2])


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_links_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text(encoding="utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_every_module_of_the_compiler_is_described() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = [f.name for f in (ROOT / "tahr" / "backends" / "native").glob("[!_]*.py")]
    assert [
        name for name in files if f"`{name}`" not in text and f"`backends/native/{name}`" not in text
    ] == []


def test_blocks_keep_their_lines() -> None:
    text = "# Title\n\n```python\nx = 1\n```\n\n    y = 2\n\n```python\nz = x\n```\n"
    assert program(text).splitlines() == ["", "", "", "x = 1", "", "", "", "", "", "z = x", ""]


def test_a_failing_block_is_named_by_its_line() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile(program("text\n```python\n1 / 0\n```\n"), "page.md", "exec"), {})
    assert raised.traceback[-1].lineno == 2  # counted from 0
