"""The table of samples: for every registered op, small named cases with an oracle of their own.

Each module of this package holds a list `SAMPLES`; `collect` puts them together, and
`tests/ops/test_registry.py` runs all checks on each. A sample is written like this:

    SAMPLES = [
        Sample(
            "Sum",
            "middle axis kept",
            inputs=([[[1.0, 2.0], [3.0, 4.0]]], [1]),
            attrs={"keep_dims": True},
            expected=[[[4.0, 6.0]]],
            dtypes=("float16", "float32", "float64", "int32", "complex64"),
        ),
        Sample(
            "Sum",
            "of nothing is zero",
            inputs=(np.zeros([0, 3]), [0]),
            expected=lambda x, axes, *, keep_dims: np.array([math.fsum(x[:, j]) for j in range(3)]),
            dtypes=FLOATS,
            bad=(Bad(([1.0], [3]), {}, ValueError, "Invalid reduction dimension"),),
        ),
    ]
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SIGNED = ("int8", "int16", "int32", "int64")
NUMBERS = FLOATS + INTEGERS + COMPLEX
INDICES = ("int32", "int64")


class Bad(NamedTuple):
    """A call that must fail.

    Attributes:
        inputs: as in `Sample`, but used as they are: arrays keep their dtype, Python numbers become int32 or
            float32.
        attrs: the attributes.
        exception: TypeError or ValueError, raised while the graph is built; or an `OpError`, raised when the
            op runs with inputs of which neither shape nor value were known before.
        phrase: TensorFlow's key phrase, which the text must contain.
    """

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Any]
    exception: type[Exception]
    phrase: str


@dataclass(frozen=True)
class Sample:
    """One case of one op.

    Args:
        op: the op type, e.g. "Sum".
        name: what is special about the case; unique among the op's samples, and part of the test's id.
        inputs: one entry for each argument of the signature: an array, number or nested list; for a list
            argument (`N*T`, `[Tin]`) a Python list or tuple of such. Floats are written in float64. An entry
            whose type in the signature is the variable under test is cast to each of `dtypes`, one whose type
            is fixed (`int32`) to that; anything else keeps the dtype of its array, and Python values become
            int32, float32, bool, string.
        attrs: the attributes that differ from their defaults.
        expected: what comes out, from an oracle that is INDEPENDENT of the kernel: literal values, a closed
            form, a naive loop, values recorded from TensorFlow. Several outputs: a tuple. Or a function
            `expected(*inputs, **attrs)`: it receives one entry per argument as in `inputs`, but cast and
            then, if floating, widened to float64 or complex128 (so it sees exactly the numbers that the
            kernel sees, and may compute in double precision), and all attributes, defaults included. Only the
            values are compared, after a cast to the output's dtype: dtypes are checked against the signature.
        dtypes: the names of the dtypes that the type variable under test runs through. Empty: inputs are used
            as they are.
        var: the type variable under test: "T" by default, or else the first in the signature. It may be an
            attribute that names an output's dtype ("-> output: dtype"), which is then set.
        gradient: the flat indices of the inputs whose gradients are compared with finite differences: in
            float64 if `dtypes` has a floating type or is empty, in complex128 if it has a complex one. True
            or None: all floating inputs, if the op is differentiable (True: it must be). False: none, for
            example at a kink or at NaN.
        second: whether the gradient's gradient is compared as well.
        rtol, atol: tolerances relative to and beside the oracle, for all dtypes; None: a few units in the
            last place of the coarsest dtype among inputs and output. 0 asks for equality. NaN equals NaN.
        gradient_rtol: tolerance of gradients; None: 1e-5.
        data_dependent: whether the output's shape depends on the inputs' values (Unique, Where), so that the
            static shape may stay unknown.
        bad: calls of the op that must fail.
        stateful: for an op that needs a session, a context or a region (variables, queues, random draws,
            loops): the path of the file that tests it, e.g. "tests/session/test_queues.py". Nothing is run
            here then but `bad` and the check that the file exists and names the op.
    """

    op: str
    name: str
    inputs: tuple[Any, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expected: Any | Callable[..., Any] = None
    dtypes: tuple[str, ...] = ()
    var: str | None = None
    gradient: bool | tuple[int, ...] | None = None
    second: bool = True
    rtol: float | None = None
    atol: float | None = None
    gradient_rtol: float | None = None
    data_dependent: bool = False
    bad: tuple[Bad, ...] = ()
    stateful: str | None = None

    def __repr__(self) -> str:
        return f"{self.op}: {self.name}"


def collect() -> dict[str, list[Sample]]:
    """All samples by op type, from every module of this package.

    Raises:
        ValueError: two samples of one op have the same name.
    """
    table: dict[str, list[Sample]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        for sample in importlib.import_module(f"{__name__}.{module.name}").SAMPLES:
            others = table.setdefault(sample.op, [])
            if any(other.name == sample.name for other in others):
                raise ValueError(f"two samples are named {sample}")
            others.append(sample)
    return table
