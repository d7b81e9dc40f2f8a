"""The optimizers' steps: one operation changes a variable and the slots that belong to it, in place.

Each rule is written once, as a function that changes arrays in place. From it come four op types: `Apply...`
for dense gradients, `SparseApply...` for the rows that a sparse gradient touches, and the `Resource...` form
of both. The formulas are those of TensorFlow 1.15's kernels, which differ from some of the papers; where they
do, a comment says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import COMPLEX, FLOATS, INDICES, DType
from tahr.core.forms import RowUpdate, Update
from tahr.core.opdef import Array, Effects, OpDef
from tahr.core.scalar import Scalar
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import scalars_updates

# A dense step goes through the arrays in blocks of this many elements, so that the temporaries of the
# formulas below are small and stay in the cache, however large the variable is. Of 16, 32, 64 and 128
# thousand this was the fastest for Adam on 512x512. Where the gradient itself is the scratch there are no temporaries,
# and four times as many were the fastest for gradient descent on 784x128.
BLOCK = 32_768
BLOCK_IN_PLACE = 4 * BLOCK

Rule = Callable[..., None]

# What stands for "the gradient" among the inputs; TensorFlow's oldest ops call it delta.
_GRADIENTS = ("grad", "delta")


class Step(NamedTuple):
    """The op types that share one rule.

    Attributes:
        dense, resource_dense: the step for a gradient of the variable's shape.
        sparse, resource_sparse: the step for some rows; None where TensorFlow has no such op.
    """

    dense: OpDef
    resource_dense: OpDef
    sparse: OpDef | None
    resource_sparse: OpDef | None


def _define(
    kind: str,
    slots: Sequence[str],
    inputs: Sequence[str],
    scalar: Callable[..., tuple[Scalar, ...]],
    attrs: Mapping[str, Any] | None = None,
    sparse: bool = True,
    types: frozenset[DType] = FLOATS,
    scratch: bool = False,
) -> Callable[[Rule], Step]:
    """A decorator that makes the ops of a rule `rule(var, *slots, *inputs, **attrs)`.

    Args:
        kind: what follows "Apply" in the names of the op types.
        slots: the names of the slots, which are changed together with `var`.
        inputs: the names of the other inputs in the ops' order; all but the gradient are scalars.
        scalar: the rule for one element, in the scalar language.
        attrs: the rule's attributes.
        sparse: whether TensorFlow has sparse forms.
        types: the dtypes the variable may have.
        scratch: whether the rule can be told by `may_overwrite` that the gradient's storage is its own.
    """
    state = ("var", *slots)
    attrs = {"use_locking": False, **(attrs or {})}

    def make(name: str, is_resource: bool, rows: bool, rule: Rule) -> OpDef:
        names = _sparse_inputs(inputs) if rows else tuple(inputs)
        gradient = next(len(state) + i for i, n in enumerate(names) if n in _GRADIENTS)
        op = OpDef(
            f"{'Resource' if is_resource else ''}{name}",
            _signature(state, names, is_resource),
            attrs=attrs,
            types={"T": types, "Tindices": INDICES},
            form=RowUpdate(scalar, gradient, gradient + 1) if rows else Update(scalar),
            effects=Effects(writes=tuple(range(len(state)))),
            scratch=gradient if scratch else None,
        ).not_differentiable()
        op.shape(_shape_rule(names, len(state), gradient, is_resource, rows))
        op.stateful_kernel(_kernel(rule, names, len(state), rows))
        return op

    def decorate(rule: Rule) -> Step:
        dense, resource_dense = (make(f"Apply{kind}", r, False, rule) for r in (False, True))
        if not sparse:
            return Step(dense, resource_dense, None, None)
        return Step(
            dense, resource_dense, *(make(f"SparseApply{kind}", r, True, rule) for r in (False, True))
        )

    return decorate


def _sparse_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs of a sparse form: the gradient is called grad, and its row numbers follow it."""
    names: list[str] = []
    for name in inputs:
        names += ["grad", "indices"] if name in _GRADIENTS else [name]
    return tuple(names)


def _signature(state: Sequence[str], inputs: Sequence[str], is_resource: bool) -> str:
    types = {"indices": "Tindices", "global_step": "int64"}
    args = [f"{name}: {'resource' if is_resource else '&T'}" for name in state]
    args += [f"{name}: {types.get(name, 'T')}" for name in inputs]
    return f"{', '.join(args)} ->{'' if is_resource else ' out: &T'}"


def _shape_rule(
    names: Sequence[str], states: int, gradient: int, is_resource: bool, rows: bool
) -> Callable[..., Shape]:
    def rule(*specs: Spec, **_: Any) -> Shape:
        for name, spec in zip(names, specs[states:]):
            rank = 1 if name == "indices" else 0
            if name not in _GRADIENTS and spec.shape is not None and len(spec.shape) != rank:
                raise ValueError(f"Shape must be rank {rank} but is rank {len(spec.shape)}: {name}")
        if is_resource:  # a handle does not tell the shape of its variable
            return None
        shape = specs[0].shape
        for slot in specs[1:states]:
            shape = shapes.merge(shape, slot.shape)
        grad = specs[gradient].shape
        if not rows:
            return shapes.merge(shape, grad)
        if shape is not None and grad is not None:
            shapes.merge(shape[1:], grad[1:])
        return shape

    return rule


# ---------------------------------------------------------------- kernels


def _kernel(rule: Rule, names: Sequence[str], states: int, rows: bool) -> Callable[..., None]:
    """The stateful kernel of a rule. What others see of a write is the variable's state, so it gives no value."""
    gradient = next(i for i, name in enumerate(names) if name in _GRADIENTS)
    indices = names.index("indices") if rows else -1
    scalars = [i for i in range(len(names)) if i not in (gradient, indices)]

    change = _change_rows if rows else _change_all

    def kernel(context: Any, *inputs: Any, use_locking: bool, **attrs: Any) -> None:
        given = list(inputs[states:])
        for i in scalars:
            if given[i].ndim:
                raise Complaint(f"{names[i]} is not a scalar: {list(given[i].shape)}")
        context.update(inputs[:states], partial(change, rule, given, gradient, indices, attrs))

    return kernel


def _change_all(
    rule: Rule, given: list[Any], gradient: int, _: int, attrs: Mapping[str, Any], *arrays: Array
) -> None:
    """One dense step, block by block."""
    var, grad = arrays[0], given[gradient]
    for other in (grad, *arrays[1:]):
        if other.shape != var.shape:
            what = "grad" if other is grad else "slot"
            raise Complaint(f"var and {what} do not have the same shape{list(var.shape)} {list(other.shape)}")
    # Blocks of arrays that are not contiguous would be copies; a scalar's is an array, which the rules need.
    block_size = BLOCK_IN_PLACE if attrs.get("may_overwrite") else BLOCK
    if var.ndim and (var.size <= block_size or not all(a.flags.c_contiguous for a in arrays)):
        rule(*arrays, *given, **attrs)
        return
    flat, grad = [a.reshape(-1) for a in arrays], grad.reshape(-1)
    for start in range(0, grad.size, block_size):
        block = slice(start, start + block_size)
        given[gradient] = grad[block]
        rule(*(a[block] for a in flat), *given, **attrs)


def _change_rows(
    rule: Rule, given: list[Any], gradient: int, place: int, attrs: Mapping[str, Any], *arrays: Array
) -> None:
    """One step of the rows that the gradient names; one named repeatedly changes repeatedly, in order."""
    var, grad, indices = arrays[0], given[gradient], given[place]
    others = [value for i, value in enumerate(given) if i != place]
    at = gradient - (place < gradient)
    if var.ndim == 0:
        raise Complaint("var must be at least 1 dimensional")
    if grad.shape != indices.shape + var.shape[1:]:
        raise Complaint(
            f"grad must be the same size as indices in the first dimension, and as var in all others: "
            f"grad {list(grad.shape)}, indices {list(indices.shape)}, var {list(var.shape)}"
        )
    bad = np.flatnonzero((indices < 0) | (indices >= len(var)))
    if bad.size:
        raise Complaint(f"Index {indices[bad[0]]} at offset {bad[0]} in indices is out of range")
    groups = (
        [slice(None)]
        if np.unique(indices).size == indices.size
        else [slice(i, i + 1) for i in range(indices.size)]
    )
    for group in groups:
        rows = [a[indices[group]] for a in arrays]
        others[at] = grad[group]
        rule(*rows, *others, **attrs)
        for array, changed in zip(arrays, rows):
            array[indices[group]] = changed


# ---------------------------------------------------------------- the rules


@_define(
    "GradientDescent",
    (),
    ("alpha", "delta"),
    scalars_updates.gradient_descent,
    sparse=False,
    types=FLOATS | COMPLEX,
    scratch=True,
)
def GRADIENT_DESCENT(  # the decorator makes a constant
    var: Array, alpha: Any, delta: Array, *, may_overwrite: bool = False
) -> None:
    """`var -= alpha * delta`."""
    var -= np.multiply(alpha, delta, out=delta if may_overwrite and delta.flags.writeable else None)


@_define(
    "Momentum",
    ("accum",),
    ("lr", "grad", "momentum"),
    scalars_updates.momentum,
    {"use_nesterov": False},
    types=FLOATS | COMPLEX,
)
def MOMENTUM(var: Array, accum: Array, lr: Any, grad: Array, momentum: Any, *, use_nesterov: bool) -> None:
    """Polyak 1964; with `use_nesterov` Sutskever et al. 2013, equations 3 and 4, at the shifted point."""
    accum *= momentum
    accum += grad
    var -= lr * (grad + momentum * accum) if use_nesterov else lr * accum


@_define("Adagrad", ("accum",), ("lr", "grad"), scalars_updates.adagrad, {"update_slots": True})
def ADAGRAD(var: Array, accum: Array, lr: Any, grad: Array, *, update_slots: bool) -> None:
    """Duchi, Hazan and Singer 2011, figure 1 with a diagonal matrix."""
    if update_slots:
        accum += grad * grad
    var -= lr * grad / np.sqrt(accum)


@_define(
    "AdagradDA",
    ("gradient_accumulator", "gradient_squared_accumulator"),
    ("grad", "lr", "l1", "l2", "global_step"),
    scalars_updates.adagrad_da,
)
def ADAGRAD_DA(
    var: Array, total: Array, squares: Array, grad: Array, lr: Any, l1: Any, l2: Any, global_step: Any
) -> None:
    """Dual averaging: Duchi, Hazan and Singer 2011, equation 3: the variable follows from the sums alone."""
    total += grad
    squares += grad * grad
    step = var.dtype.type(global_step)
    var[...] = lr * _shrink(-total, l1 * step) / (l2 * step * lr + np.sqrt(squares))


@_define("Adadelta", ("accum", "accum_update"), ("lr", "rho", "epsilon", "grad"), scalars_updates.adadelta)
def ADADELTA(
    var: Array, accum: Array, accum_update: Array, lr: Any, rho: Any, epsilon: Any, grad: Array
) -> None:
    """Zeiler 2012, algorithm 1."""
    accum *= rho
    accum += (1 - rho) * (grad * grad)
    update = np.sqrt((accum_update + epsilon) / (accum + epsilon)) * grad
    accum_update *= rho
    accum_update += (1 - rho) * (update * update)
    var -= lr * update


@_define("RMSProp", ("ms", "mom"), ("lr", "rho", "momentum", "epsilon", "grad"), scalars_updates.rmsprop)
def RMSPROP(
    var: Array, ms: Array, mom: Array, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Array
) -> None:
    """Tieleman and Hinton 2012, lecture 6e; epsilon is inside the root."""
    ms *= rho
    ms += (1 - rho) * (grad * grad)
    mom *= momentum
    mom += lr * grad / np.sqrt(ms + epsilon)
    var -= mom


@_define(
    "CenteredRMSProp",
    ("mg", "ms", "mom"),
    ("lr", "rho", "momentum", "epsilon", "grad"),
    scalars_updates.centered_rmsprop,
)
def CENTERED_RMSPROP(
    var: Array, mg: Array, ms: Array, mom: Array, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Array
) -> None:
    """Graves 2013, equations 38 to 41: RMSProp divided by the deviation instead of the root mean square."""
    ms *= rho
    ms += (1 - rho) * (grad * grad)
    mg *= rho
    mg += (1 - rho) * grad
    mom *= momentum
    mom += lr * grad / np.sqrt(ms - mg * mg + epsilon)
    var -= mom


@_define(
    "Adam",
    ("m", "v"),
    ("beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon", "grad"),
    scalars_updates.adam,
    {"use_nesterov": False},
    sparse=False,
)
def ADAM(
    var: Array,
    m: Array,
    v: Array,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Array,
    *,
    use_nesterov: bool,
) -> None:
    """Kingma and Ba 2015, in the form before section 2.1: epsilon ("hat") is outside the bias correction."""
    rate = lr * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    # The most used rule of all keeps to one temporary; as plain formulas it takes 1.2 times as long.
    change = (1 - beta1) * grad
    m *= beta1
    m += change
    np.multiply(grad, grad, out=change)
    change *= 1 - beta2
    v *= beta2
    v += change
    np.sqrt(v, out=change)
    change += epsilon
    np.divide(beta1 * m + (1 - beta1) * grad if use_nesterov else m, change, out=change)
    change *= rate
    var -= change


@_define("Ftrl", ("accum", "linear"), ("grad", "lr", "l1", "l2", "lr_power"), scalars_updates.ftrl)
def FTRL(
    var: Array, accum: Array, linear: Array, grad: Array, lr: Any, l1: Any, l2: Any, lr_power: Any
) -> None:
    """McMahan et al. 2013, algorithm 1, with a power in place of the square root."""
    _ftrl(var, accum, linear, grad, grad, lr, l1, l2, lr_power)


@_define(
    "FtrlV2",
    ("accum", "linear"),
    ("grad", "lr", "l1", "l2", "l2_shrinkage", "lr_power"),
    scalars_updates.ftrl_v2,
)
def FTRL_V2(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: Any,
    l1: Any,
    l2: Any,
    l2_shrinkage: Any,
    lr_power: Any,
) -> None:
    """FTRL whose loss has the penalty `l2_shrinkage * var**2` too, which unlike `l2` has a gradient."""
    _ftrl(var, accum, linear, grad, grad + 2 * l2_shrinkage * var, lr, l1, l2, lr_power)


def _ftrl(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    shrunk: Array,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
) -> None:
    # `accum` sums squares of the plain gradient, `linear` the gradient with the shrinkage penalty's.
    total = accum + grad * grad
    new_power, old_power = (np.sqrt(a) if lr_power == -0.5 else a**-lr_power for a in (total, accum))
    linear += shrunk - (new_power - old_power) / lr * var
    var[...] = _shrink(-linear, l1) / (new_power / lr + 2 * l2)
    accum[...] = total


@_define(
    "ProximalGradientDescent", (), ("alpha", "l1", "l2", "delta"), scalars_updates.proximal_gradient_descent
)
def PROXIMAL_GRADIENT_DESCENT(var: Array, alpha: Any, l1: Any, l2: Any, delta: Array) -> None:
    """Duchi and Singer 2009 (FOBOS), section 5."""
    var[...] = _shrink(var - alpha * delta, alpha * l1) / (1 + alpha * l2)


@_define("ProximalAdagrad", ("accum",), ("lr", "l1", "l2", "grad"), scalars_updates.proximal_adagrad)
def PROXIMAL_ADAGRAD(var: Array, accum: Array, lr: Any, l1: Any, l2: Any, grad: Array) -> None:
    """FOBOS with Adagrad's rate for each element."""
    accum += grad * grad
    rate = lr / np.sqrt(accum)
    var[...] = _shrink(var - rate * grad, rate * l1) / (1 + rate * l2)


def _shrink(x: Array, threshold: Any) -> Array:
    """Soft thresholding: x moved towards zero by `threshold`, and zero where that would pass it."""
    if not np.ndim(threshold) and threshold <= 0:
        return x
    return x - np.clip(x, -threshold, threshold)
