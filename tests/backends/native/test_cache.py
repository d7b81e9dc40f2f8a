"""Compiled objects on disk: whole or ignored, private, bounded, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tahr.backends.native import cache as caches
from tahr.backends.native.cache import Cache, key
from tahr.cli import main

ROOT = Path(__file__).parents[3]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def only_file(cache: Cache) -> Path:
    (entry,) = cache.entries()
    return entry[2]


def test_what_was_put_can_be_got(cache: Cache) -> None:
    assert cache.get("a") is None
    assert cache.put("a", b"object") and cache.put("b", b"")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"object", b"", None)
    assert Cache(cache.directory).get("a") == b"object"
    assert cache.put("a", b"another") and cache.get("a") == b"another"


def test_keys_differ_where_parts_do() -> None:
    keys = {key(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["a", "b", "c"], [])}
    assert len(keys) == 6
    assert key(["a", "b"]) == key(["a", "b"])


@pytest.mark.parametrize("length", [0, 5, 20, 40, -1])
def test_a_truncated_entry_is_ignored_and_replaced(cache: Cache, length: int) -> None:
    cache.put("a", b"object")
    path = only_file(cache)
    path.write_bytes(path.read_bytes()[:length])
    assert cache.get("a") is None
    assert cache.put("a", b"object") and cache.get("a") == b"object"


def test_each_changed_byte_is_noticed(cache: Cache) -> None:
    cache.put("a", b"object")
    path = only_file(cache)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert cache.get("a") is None, i
    path.write_bytes(whole + b"\0")
    assert cache.get("a") is None


@posix
def test_directory_and_files_are_private(cache: Cache) -> None:
    cache.put("a", b"object")
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert only_file(cache).stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    Cache(tmp_path / "shared").put("a", b"object")
    (tmp_path / "shared").chmod(mode)
    shared = Cache(tmp_path / "shared")
    assert shared.complaint() == "other users can write to it"
    assert shared.get("a") is None and not shared.put("b", b"object")
    assert len(shared.entries()) == 1


@posix
def test_a_directory_of_another_user_is_not_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("a", b"object")
    monkeypatch.setattr(os, "geteuid", lambda: cache.directory.stat().st_uid + 1)
    other = Cache(cache.directory)
    assert other.complaint() == "it belongs to another user"
    assert other.get("a") is None and not other.put("b", b"object")


def test_a_file_in_place_of_the_directory_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        cache = Cache(directory)
        assert cache.get("a") is None and not cache.put("a", b"object")
        assert cache.entries() == [] and cache.clear() == 0


def test_a_disk_that_refuses_is_no_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    assert not cache.put("a", b"object") and cache.get("a") is None
    monkeypatch.undo()
    monkeypatch.setattr(Path, "replace", refuse)
    assert not cache.put("a", b"object") and cache.get("a") is None
    assert not any(cache.directory.iterdir()), "nothing unfinished stays"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=10_000)
    for i in range(9):
        cache.put(str(i), bytes(1000))
        age(cache.directory / f"{i}{caches.SUFFIX}", 10_000 * (10 - i))
    assert Cache(cache.directory).get("0") is not None  # used just now
    Cache(cache.directory, limit=5000).put("new", bytes(1000))
    left = {path.stem for _, _, path in cache.entries()}
    assert left == {"0", "8", "new"}


def test_what_a_dead_process_left_goes(cache: Cache) -> None:
    cache.put("a", b"object")
    old, young = (cache.directory / f"{name}{caches.UNFINISHED}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    age(old, 2 * caches.ABANDONED_AFTER)
    Cache(cache.directory).put("b", b"object")
    assert not old.exists() and young.exists()
    assert cache.clear() == 2
    assert not any(cache.directory.iterdir())


def test_processes_write_and_read_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tahr.backends.native.cache import Cache\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "for round in range(30):\n"
        "    for name in 'abc':\n"
        "        assert cache.put(name, name.encode() * 5000)\n"
        "        assert cache.get(name) == name.encode() * 5000\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 3


# ---------------------------------------------------------------- where it is


def test_the_environment_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAHR_CACHE", raising=False)
    monkeypatch.setenv("TAHR_CACHE_DIR", str(tmp_path))
    assert caches.default_directory() == tmp_path
    monkeypatch.setenv("TAHR_CACHE", "0")
    assert caches.default_directory() is None and caches.default() is None


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        pytest.param("linux", {"HOME": "/home/me"}, "/home/me/.cache/tahr", id="linux"),
        pytest.param("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "/fast"}, "/fast/tahr", id="xdg"),
        pytest.param("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "fast"}, None, id="xdg-relative"),
        pytest.param("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/tahr", id="macos"),
        pytest.param("win32", {"LOCALAPPDATA": "/c/local"}, "/c/local/tahr", id="windows"),
        pytest.param("win32", {}, None, id="windows-without"),
    ],
)
@posix
def test_each_systems_place(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str | None
) -> None:
    for name in ("TAHR_CACHE", "TAHR_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert caches.default_directory() == (None if expected is None else Path(expected))


@posix
def test_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAHR_CACHE", "TAHR_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert caches.default_directory() is None


# ---------------------------------------------------------------- tahr cache


@pytest.fixture
def users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.delenv("TAHR_CACHE", raising=False)
    monkeypatch.setenv("TAHR_CACHE_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def test_the_command_shows_and_clears(users_cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{users_cache.directory}: 0 compiled objects, 0.0 of 256 MiB\n"
    users_cache.put("a", bytes(3 << 20))
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{users_cache.directory}: 1 compiled object, 3.0 of 256 MiB\n"
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{users_cache.directory}: removed 1 compiled object\n"
    assert users_cache.entries() == []


def test_the_command_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAHR_CACHE", "0")
    assert main(["cache"]) == 0
    assert "not kept: TAHR_CACHE=0" in capsys.readouterr().out


@posix
def test_the_command_says_why_a_directory_is_not_used(
    users_cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    users_cache.directory.mkdir()
    users_cache.directory.chmod(0o777)
    assert main(["cache"]) == 1
    assert "other users can write to it. Fix: TAHR_CACHE_DIR" in capsys.readouterr().err
