"""The passes, in the order in which every Program goes through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tahr.core.forms import Elementwise
from tahr.core.opdef import OpDef
from tahr.program import check
from tahr.program.node import Program
from tahr.program.passes import (
    blocks,
    canonicalize,
    convolutions,
    divisors,
    expand,
    fold,
    hits,
    integers,
    simplify,
    softmaxes,
    stabilize,
)


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        name: its name.
        run: the rewriting.
        forbids: whether an op must not be there after it, nor after any later pass.
    """

    name: str
    run: Callable[[Program], Program]
    forbids: check.Forbids = check.nothing


def passes(keeps: expand.Keeps) -> tuple[Pass, ...]:
    """The passes for a backend.

    Args:
        keeps: whether the backend has a kernel of its own for a composite.
    """
    return (
        # One form for each meaning, so that what follows has few patterns to know.
        Pass("canonicalize", canonicalize.run, lambda opdef: opdef.name in canonicalize.GONE),
        # Before expansion: afterwards log(softmax(x)) can no longer be recognised.
        Pass("stabilize", stabilize.run),
        Pass("expand", partial(expand.run, keeps=keeps), lambda opdef: expand.is_composite(opdef, keeps)),
        # Before simplification, which looks for constants.
        Pass("fold", fold.run),
        Pass("simplify", simplify.run),
    )


def run(program: Program, order: tuple[Pass, ...]) -> Program:
    """A program after passes; the checker looks at it after each, if it is switched on."""
    forbidden: list[check.Forbids] = []
    if check.is_on():
        check.program(program, "extraction")
    for each in order:
        before = program
        program = each.run(program)
        if check.is_on():
            forbidden.append(each.forbids)
            check.program(program, each.name, forbidden)
            check.same_effects(before, program, each.name)
    return program


def _has_kernel(opdef: OpDef) -> bool:
    return opdef.compute is not None


NUMPY = passes(keeps=_has_kernel)
"""The reference backend's."""


def for_numpy(program: Program) -> Program:
    """The passes for the reference backend, which keeps each composite that has a NumPy kernel."""
    return run(program, NUMPY)


def _has_form(opdef: OpDef) -> bool:
    """Whether the native backend compiles an op as it is, or nothing is won by taking it apart."""
    form = opdef.form
    return isinstance(form, Elementwise) and form.scalar is not None


NATIVE = (
    Pass("blocks", blocks.run),
    Pass("convolutions", convolutions.run),
    # Before expansion, after which nobody sees what a softmax was.
    Pass("softmaxes", softmaxes.run),
    Pass("accidental hits", hits.run),
    Pass("products of integers", integers.run),
    *passes(keeps=_has_form),
    # Behind expansion, which makes divisions too.
    Pass("divisors", divisors.run),
)
"""The native backend's, behind the reference backend's."""


def for_native(program: Program) -> Program:
    """The passes for the native backend, which takes composites apart where it has no form for the whole."""
    return run(program, NATIVE)
