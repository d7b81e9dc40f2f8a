"""The user's line: which line of code outside tahr made an operation."""

from __future__ import annotations

import linecache
import os
import sys
from types import CodeType, FrameType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Whether the code of a file belongs to tahr, by file name: asked once for every operation and frame.
_is_ours: dict[str, bool] = {}


def is_ours(filename: str) -> bool:
    """Whether code is tahr's own, by its file."""
    ours = _is_ours.get(filename)
    if ours is None:
        ours = _is_ours[filename] = filename.startswith(_PACKAGE)
    return ours


class Source:
    """One line of the user's code. The text is read from the file only when an error shows it."""

    __slots__ = ("code", "lineno")

    def __init__(self, code: CodeType, lineno: int) -> None:
        self.code = code
        self.lineno = lineno

    @property
    def filename(self) -> str:
        """The file's path."""
        return self.code.co_filename

    @property
    def line(self) -> str:
        """The text of the line, stripped; empty where the file cannot be read."""
        return linecache.getline(self.filename, self.lineno).strip()

    @property
    def place(self) -> str:
        """`model.py:41`."""
        return f"{os.path.basename(self.filename)}:{self.lineno}"

    def describe(self) -> str:
        """`model.py:41   logits = tf.matmul(x, w) + b`."""
        line = self.line
        if len(line) > 90:
            line = line[:87] + "..."
        return f"{self.place}   {line}" if line else self.place

    def __repr__(self) -> str:
        return f"<Source {self.place}>"


def caller() -> Source:
    """The innermost line of code outside tahr that is being executed."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    last = frame
    while frame is not None:
        name = frame.f_code.co_filename
        ours = _is_ours.get(name)  # `is_ours` written out: a call for each frame would be felt
        if ours is None:
            ours = is_ours(name)
        if not ours:
            return Source(frame.f_code, frame.f_lineno)
        last = frame
        frame = frame.f_back
    assert last is not None
    return Source(last.f_code, last.f_lineno)
