"""What holds for every file of the repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import tahr

ROOT = Path(__file__).parent.parent
LARGEST_FILE = 400 * 1024

# In pieces, so that this file does not contain them itself: paths of one machine, and unfinished work.
FORBIDDEN = re.compile("|".join([r"\.\./" + "shared", "/" + "work/", r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b"]))


def repository_files() -> list[Path]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]  # a file that was just removed is still listed


def forbidden_words(text: str) -> list[str]:
    """`line: word` for each forbidden word."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {word}" for number, line in lines for word in FORBIDDEN.findall(line)]


def test_no_file_is_large() -> None:
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in repository_files()}
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE} == {}


def test_no_forbidden_words() -> None:
    found: dict[str, list[str]] = {}
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an array
        words = forbidden_words(text)
        if words:
            found[path.relative_to(ROOT).as_posix()] = words
    assert found == {}


@pytest.mark.parametrize("word", ["../" + "shared/x", "/" + "work/main", "TO" + "DO: later", "FIX" + "ME"])
def test_a_planted_forbidden_word_is_caught(word: str) -> None:
    assert len(forbidden_words(f"first line\nx = 1  # {word}")) == 1


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "tahr" / "py.typed").is_file()


def test_the_version_is_the_same_everywhere() -> None:
    assert f'\nversion = "{tahr.__version__}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
