"""The passes, in the order in which every Program goes through them."""

from __future__ import annotations

from tahr.program.node import Program


def for_numpy(program: Program) -> Program:
    """The passes for the reference backend."""
    return program
