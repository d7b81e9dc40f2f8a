"""Compiled objects on disk, so that a program that ran before compiles nothing.

Objects are code: they are read only from a directory that belongs to the user and that nobody else can write to, and
only with the right checksum. An entry's name is a hash of everything that its content depends on, so entries
never go out of date; they are only used or not. Nothing here raises where a disk is full, read-only or missing: then
there is no cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path

# Changed when an entry's layout changes, or what compiling means.
FORMAT = 1
MAGIC = b"tahr object %d\n" % FORMAT
SUFFIX = ".tahr"
UNFINISHED = ".part"
LIMIT_BYTES = 256 << 20
# A cache that grew too large shrinks to this part of its limit, so that it does not shrink with every entry.
SHRINK_TO = 0.75
# How many entries one process writes before it looks at the size again; it looks at the first one too.
WRITES_BETWEEN_LOOKS = 256
# Reading an entry renews its time of use where that is older; seconds.
RENEW_AFTER = 3600
# A temporary file that is older belongs to a process that died; seconds.
ABANDONED_AFTER = 3600


def default_directory() -> Path | None:
    """Where this user's objects are: `TAHR_CACHE_DIR`, or `tahr` in the system's place for caches.

    Returns:
        The directory, which need not exist; None where `TAHR_CACHE=0` turns the cache off or there is no home.
    """
    if os.environ.get("TAHR_CACHE", "") == "0":
        return None
    chosen = os.environ.get("TAHR_CACHE_DIR", "")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        place = os.path.expanduser("~/Library/Caches")
    else:
        place = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    # XDG: a relative path is invalid; without a home directory, "~" stays as it is.
    return Path(place) / "tahr" if os.path.isabs(place) else None


def key(parts: Iterable[str]) -> str:
    """The name of an entry that depends on some texts."""
    digest = hashlib.sha256(MAGIC)
    for part in parts:
        data = part.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


class Cache:
    """The objects in one directory.

    Args:
        directory: it is made when something is written.
        limit: how many bytes it may hold; the least recently used entries go.
    """

    def __init__(self, directory: Path, limit: int = LIMIT_BYTES) -> None:
        self.directory = directory
        self.limit = limit
        self._trusted: bool | None = None
        self._writes = 0

    def complaint(self) -> str | None:
        """Why the directory cannot be used, or None; one that does not exist yet is none."""
        try:
            status = self.directory.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror
        if not stat.S_ISDIR(status.st_mode):
            return "it is not a directory"
        if hasattr(os, "geteuid"):
            if status.st_uid != os.geteuid():
                return "it belongs to another user"
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return "other users can write to it"
        return None

    def get(self, name: str) -> bytes | None:
        """The object of a name, or None where there is none, or none that is whole."""
        if not self._may_use():
            return None
        path = self._path(name)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        start = len(MAGIC) + hashlib.sha256().digest_size
        content = data[start:]
        if data[:start] != MAGIC + hashlib.sha256(content).digest():
            return None  # `put` replaces it
        with contextlib.suppress(OSError):
            now = time.time()
            if now - path.stat().st_mtime > RENEW_AFTER:
                os.utime(path, (now, now))
        return content

    def put(self, name: str, content: bytes) -> bool:
        """Keeps an object; gives whether that succeeded.

        Other processes may write the same entry: each writes a file of its own and renames it.
        """
        unfinished = self.directory / f"{name}-{secrets.token_hex(8)}{UNFINISHED}"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._may_use():
                return False
            # Whoever may read objects learns what was computed: the file is the user's alone, like the directory.
            file = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600
            )
            with os.fdopen(file, "wb") as stream:
                stream.write(MAGIC + hashlib.sha256(content).digest() + content)
            unfinished.replace(self._path(name))
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            return False
        if self._writes % WRITES_BETWEEN_LOOKS == 0:
            self._shrink()
        self._writes += 1
        return True

    def entries(self) -> list[tuple[float, int, Path]]:
        """The time of last use, the size in bytes and the path of each entry, least recently used first."""
        return sorted(self._files(SUFFIX))

    def clear(self) -> int:
        """Removes every entry; gives how many there were."""
        entries = self.entries()
        for _, _, path in [*entries, *self._files(UNFINISHED)]:
            path.unlink(missing_ok=True)
        return len(entries)

    def _may_use(self) -> bool:
        """Whether the directory is there and nobody else can write to it; once it is, it is not looked at again."""
        if not self._trusted:
            self._trusted = self.directory.is_dir() and self.complaint() is None
        return self._trusted

    def _path(self, name: str) -> Path:
        return self.directory / (name + SUFFIX)

    def _files(self, suffix: str) -> list[tuple[float, int, Path]]:
        found: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError), os.scandir(self.directory) as files:
            for file in files:
                if file.name.endswith(suffix):
                    with contextlib.suppress(OSError):  # another process removed it
                        status = file.stat()
                        found.append((status.st_mtime, status.st_size, Path(file.path)))
        return found

    def _shrink(self) -> None:
        now = time.time()
        leftovers = [path for used, _, path in self._files(UNFINISHED) if now - used > ABANDONED_AFTER]
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        if total > self.limit:
            for _, size, path in entries:
                if total <= self.limit * SHRINK_TO:
                    break
                leftovers.append(path)
                total -= size
        for path in leftovers:
            with contextlib.suppress(OSError):
                path.unlink()


def default() -> Cache | None:
    """The user's cache, or None where there is none."""
    directory = default_directory()
    return None if directory is None else Cache(directory)
