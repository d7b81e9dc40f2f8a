"""The public surface: which names there are, and how they are called.

`tests/fixtures/api.txt` lists every public name with its signature. A change of the surface fails here, until
it is recorded:

    python -m tests.test_api --write
"""

from __future__ import annotations

import difflib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tahr as tf

GOLDEN = Path(__file__).parent / "fixtures" / "api.txt"
# What a module imports to annotate its functions is not public; Python's releases differ in it.
ANNOTATIONS = ("__future__", "typing", "collections.abc")


# ---------------------------------------------------------------- the golden file


def public_names(namespace: ModuleType, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every public name below a namespace, with what it stands for; tahr's own subpackages are not public."""
    for name in dir(namespace):
        value = getattr(namespace, name)
        if isinstance(value, ModuleType):
            if value.__name__.startswith("tahr.api.") or value.__name__ == "tahr.errors":
                yield from public_names(value, f"{prefix}.{name}")
        elif not name.startswith("_") and getattr(value, "__module__", None) not in ANNOTATIONS:
            yield f"{prefix}.{name}", value


def signature(value: Any) -> str:
    """`(x, axis=None)`: argument names and defaults, without types."""
    try:
        found = inspect.signature(value)
    except ValueError:  # a class that takes Python's own arguments
        return "(...)"
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=plain, return_annotation=found.empty))
    return re.sub(r"<(function|class|object) ([^ >]*)[^>]*>", r"<\2>", text)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, its own or inherited from another one of tahr."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("tahr."):
            found.update((name, value) for name, value in vars(base).items() if not name.startswith("_"))
    yield from found.items()


def surface() -> list[str]:
    """One line for each public name, function, method and property, sorted."""
    lines: set[str] = set()
    described: set[type] = set()
    for name, value in sorted(public_names(tf, "tf")):
        if not callable(value):
            lines.add(name)
            continue
        lines.add(name + signature(value))
        # The members of a class are listed once, below its first name.
        if inspect.isclass(value) and value not in described and value.__module__.startswith("tahr."):
            described.add(value)
            for member, definition in members(value):
                function = getattr(definition, "__func__", definition)
                called = inspect.isfunction(function)
                lines.add(f"{name}.{member}" + (signature(function) if called else ""))
    return sorted(lines)


def test_the_surface_is_the_recorded_one() -> None:
    recorded = GOLDEN.read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.ndiff(recorded, surface()) if line[0] in "+-"]
    assert not changes, (
        "the public surface changed: `python -m tests.test_api --write` records it\n" + "\n".join(changes)
    )


def test_every_public_function_has_a_docstring() -> None:
    functions = [(name, value) for name, value in public_names(tf, "tf") if inspect.isfunction(value)]
    assert [name for name, value in functions if not inspect.getdoc(value)] == []


# ---------------------------------------------------------------- the names that programs use most

# Of the 250 names that public TensorFlow 1 programs use most: those for graphs, mathematics, arrays, neural
# networks, random values, state, control flow and training, in the order of use.
MOST_USED = """
    tf.float32 tf.Session tf.placeholder tf.global_variables_initializer tf.matmul tf.reshape
    tf.reduce_mean tf.Variable tf.variable_scope tf.nn.relu tf.int32 tf.reduce_sum
    tf.train.AdamOptimizer tf.cast tf.argmax tf.zeros tf.concat tf.square tf.get_variable tf.nn.softmax
    tf.shape tf.constant tf.log tf.transpose tf.gradients tf.trainable_variables tf.nn.conv2d tf.equal
    tf.expand_dims tf.name_scope tf.ConfigProto tf.random_normal tf.set_random_seed tf.random_uniform
    tf.exp tf.one_hot tf.squeeze tf.nn.sigmoid tf.stack tf.device tf.ones tf.Graph
    tf.train.RMSPropOptimizer tf.constant_initializer tf.abs tf.maximum tf.range tf.reduce_max
    tf.train.GradientDescentOptimizer tf.add tf.sqrt tf.int64 tf.get_collection tf.nn.dropout
    tf.control_dependencies tf.group tf.nn.bias_add tf.split tf.ones_like
    tf.nn.softmax_cross_entropy_with_logits tf.multiply tf.gather tf.nn.tanh tf.assign
    tf.random_normal_initializer tf.zeros_like tf.nn.embedding_lookup tf.global_variables tf.pow
    tf.nn.max_pool tf.get_default_graph tf.nn.sparse_softmax_cross_entropy_with_logits tf.tanh
    tf.clip_by_value tf.stop_gradient tf.GraphKeys.TRAINABLE_VARIABLES tf.sigmoid tf.where tf.string
    tf.train.Coordinator tf.clip_by_global_norm tf.nn.moments tf.convert_to_tensor tf.cond
    tf.nn.softplus tf.nn.sigmoid_cross_entropy_with_logits tf.minimum tf.uint8
    tf.initialize_all_variables tf.to_float tf.truncated_normal tf.zeros_initializer
    tf.InteractiveSession tf.slice tf.truncated_normal_initializer tf.subtract tf.reset_default_graph
    tf.bool tf.unstack tf.add_n tf.nn.softmax_cross_entropy_with_logits_v2 tf.train.start_queue_runners
    tf.nn.l2_loss tf.train.ExponentialMovingAverage tf.nn.conv2d_transpose tf.train.MomentumOptimizer
    tf.train.exponential_decay tf.test.TestCase tf.identity tf.get_variable_scope tf.less tf.div
    tf.reduce_min tf.nn.elu tf.test.main tf.tile tf.pad tf.GraphKeys.GLOBAL_VARIABLES tf.__version__
    tf.errors.OutOfRangeError tf.sign tf.nn.l2_normalize tf.add_to_collection tf.TensorShape
    tf.train.get_or_create_global_step tf.nn.nce_loss tf.no_op tf.nn.avg_pool tf.sin
    tf.random_uniform_initializer tf.FIFOQueue tf.AUTO_REUSE tf.to_int32 tf.squared_difference
    tf.greater tf.get_default_session tf.round tf.float64 tf.multinomial tf.diag
    tf.variables_initializer tf.py_func tf.gather_nd tf.Print tf.placeholder_with_default tf.random_crop
    tf.cos tf.train.AdagradOptimizer tf.Tensor tf.while_loop tf.fill tf.local_variables_initializer
    tf.logical_and tf.ones_initializer tf.linspace tf.divide tf.matrix_inverse tf.GraphKeys.UPDATE_OPS
    tf.map_fn tf.train.get_global_step tf.nn.relu6 tf.assign_add tf.GPUOptions tf.rsqrt
    tf.random.uniform tf.random.normal tf.tensordot tf.floor tf.mod
"""


@pytest.mark.parametrize("name", MOST_USED.split())
def test_a_name_that_programs_use_exists(name: str) -> None:
    found: Any = tf
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    assert found is not None


# What is called most, with TensorFlow 1.15's arguments in the order in which they may be given by position.
POSITIONAL = """
    tf.Session(target, graph, config)
    tf.placeholder(dtype, shape, name)
    tf.matmul(a, b, transpose_a, transpose_b, adjoint_a, adjoint_b, a_is_sparse, b_is_sparse, name)
    tf.reshape(tensor, shape, name)
    tf.reduce_mean(input_tensor, axis, keepdims, name, reduction_indices, keep_dims)
    tf.Variable(initial_value, trainable, collections, validate_shape, caching_device, name,
        variable_def, dtype, expected_shape, import_scope, constraint, use_resource,
        synchronization, aggregation, shape)
    tf.variable_scope(name_or_scope, default_name, values, initializer, regularizer, caching_device,
        partitioner, custom_getter, reuse, dtype, use_resource, constraint, auxiliary_name_scope)
    tf.nn.relu(features, name)
    tf.reduce_sum(input_tensor, axis, keepdims, name, reduction_indices, keep_dims)
    tf.train.AdamOptimizer(learning_rate, beta1, beta2, epsilon, use_locking, name)
    tf.cast(x, dtype, name)
    tf.argmax(input, axis, name, dimension, output_type)
    tf.zeros(shape, dtype, name)
    tf.concat(values, axis, name)
    tf.square(x, name)
    tf.get_variable(name, shape, dtype, initializer, regularizer, trainable, collections,
        caching_device, partitioner, validate_shape, use_resource, custom_getter, constraint,
        synchronization, aggregation)
    tf.nn.softmax(logits, axis, name, dim)
    tf.shape(input, name, out_type)
    tf.constant(value, dtype, shape, name, verify_shape)
    tf.log(x, name)
    tf.transpose(a, perm, name, conjugate)
    tf.gradients(ys, xs, grad_ys, name, colocate_gradients_with_ops, gate_gradients,
        aggregation_method, stop_gradients, unconnected_gradients)
    tf.trainable_variables(scope)
    tf.nn.conv2d(input, filter, strides, padding, use_cudnn_on_gpu, data_format, dilations, name,
        filters)
    tf.equal(x, y, name)
    tf.expand_dims(input, axis, name, dim)
    tf.name_scope(name, default_name, values)
    tf.random_normal(shape, mean, stddev, dtype, seed, name)
    tf.set_random_seed(seed)
    tf.random_uniform(shape, minval, maxval, dtype, seed, name)
    tf.exp(x, name)
    tf.one_hot(indices, depth, on_value, off_value, axis, dtype, name)
    tf.squeeze(input, axis, name, squeeze_dims)
    tf.nn.sigmoid(x, name)
    tf.stack(values, axis, name)
    tf.device(device_name_or_function)
    tf.ones(shape, dtype, name)
    tf.train.RMSPropOptimizer(learning_rate, decay, momentum, epsilon, use_locking, centered, name)
    tf.constant_initializer(value, dtype, verify_shape)
    tf.abs(x, name)
    tf.maximum(x, y, name)
    tf.range(start, limit, delta, dtype, name)
    tf.reduce_max(input_tensor, axis, keepdims, name, reduction_indices, keep_dims)
    tf.train.GradientDescentOptimizer(learning_rate, use_locking, name)
    tf.add(x, y, name)
    tf.sqrt(x, name)
    tf.get_collection(key, scope)
    tf.nn.dropout(x, keep_prob, noise_shape, seed, name, rate)
    tf.control_dependencies(control_inputs)
    tf.nn.bias_add(value, bias, data_format, name)
    tf.split(value, num_or_size_splits, axis, num, name)
    tf.ones_like(tensor, dtype, name, optimize)
    tf.nn.softmax_cross_entropy_with_logits(_sentinel, labels, logits, dim, name)
    tf.multiply(x, y, name)
    tf.gather(params, indices, validate_indices, name, axis, batch_dims)
    tf.nn.tanh(x, name)
    tf.assign(ref, value, validate_shape, use_locking, name)
    tf.random_normal_initializer(mean, stddev, seed, dtype)
    tf.zeros_like(tensor, dtype, name, optimize)
    tf.nn.embedding_lookup(params, ids, partition_strategy, name, validate_indices, max_norm)
    tf.global_variables(scope)
    tf.pow(x, y, name)
    tf.nn.max_pool(value, ksize, strides, padding, data_format, name, input)
    tf.nn.sparse_softmax_cross_entropy_with_logits(_sentinel, labels, logits, name)
    tf.tanh(x, name)
    tf.clip_by_value(t, clip_value_min, clip_value_max, name)
    tf.stop_gradient(input, name)
    tf.sigmoid(x, name)
    tf.where(condition, x, y, name)
    tf.train.Coordinator(clean_stop_exception_types)
    tf.clip_by_global_norm(t_list, clip_norm, use_norm, name)
    tf.nn.moments(x, axes, shift, name, keep_dims, keepdims)
    tf.convert_to_tensor(value, dtype, name, preferred_dtype, dtype_hint)
    tf.cond(pred, true_fn, false_fn, strict, name, fn1, fn2)
    tf.nn.softplus(features, name)
    tf.nn.sigmoid_cross_entropy_with_logits(_sentinel, labels, logits, name)
    tf.minimum(x, y, name)
    tf.to_float(x, name)
    tf.truncated_normal(shape, mean, stddev, dtype, seed, name)
    tf.zeros_initializer(dtype)
    tf.InteractiveSession(target, graph, config)
    tf.slice(input_, begin, size, name)
    tf.truncated_normal_initializer(mean, stddev, seed, dtype)
    tf.subtract(x, y, name)
    tf.unstack(value, num, axis, name)
    tf.add_n(inputs, name)
    tf.nn.softmax_cross_entropy_with_logits_v2(labels, logits, axis, name, dim)
    tf.train.start_queue_runners(sess, coord, daemon, start, collection)
    tf.nn.l2_loss(t, name)
    tf.train.ExponentialMovingAverage(decay, num_updates, zero_debias, name)
    tf.nn.conv2d_transpose(value, filter, output_shape, strides, padding, data_format, name, input,
        filters, dilations)
    tf.train.MomentumOptimizer(learning_rate, momentum, use_locking, name, use_nesterov)
    tf.train.exponential_decay(learning_rate, global_step, decay_steps, decay_rate, staircase, name)
    tf.identity(input, name)
    tf.less(x, y, name)
    tf.div(x, y, name)
    tf.reduce_min(input_tensor, axis, keepdims, name, reduction_indices, keep_dims)
    tf.nn.elu(features, name)
    tf.tile(input, multiples, name)
    tf.pad(tensor, paddings, mode, name, constant_values)
    tf.sign(x, name)
    tf.nn.l2_normalize(x, axis, epsilon, name, dim)
    tf.add_to_collection(name, value)
    tf.TensorShape(dims)
    tf.train.get_or_create_global_step(graph)
    tf.nn.nce_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true,
        sampled_values, remove_accidental_hits, partition_strategy, name)
    tf.no_op(name)
    tf.nn.avg_pool(value, ksize, strides, padding, data_format, name, input)
    tf.sin(x, name)
    tf.random_uniform_initializer(minval, maxval, seed, dtype)
    tf.FIFOQueue(capacity, dtypes, shapes, names, shared_name, name)
    tf.to_int32(x, name)
    tf.squared_difference(x, y, name)
    tf.greater(x, y, name)
    tf.round(x, name)
    tf.multinomial(logits, num_samples, seed, name, output_dtype)
    tf.diag(diagonal, name)
    tf.variables_initializer(var_list, name)
    tf.py_func(func, inp, Tout, stateful, name)
    tf.gather_nd(params, indices, name, batch_dims)
    tf.Print(input_, data, message, first_n, summarize, name)
    tf.placeholder_with_default(input, shape, name)
    tf.random_crop(value, size, seed, name)
    tf.cos(x, name)
    tf.train.AdagradOptimizer(learning_rate, initial_accumulator_value, use_locking, name)
    tf.while_loop(cond, body, loop_vars, shape_invariants, parallel_iterations, back_prop,
        swap_memory, name, maximum_iterations, return_same_structure)
    tf.fill(dims, value, name)
    tf.logical_and(x, y, name)
    tf.ones_initializer(dtype)
    tf.linspace(start, stop, num, name)
    tf.divide(x, y, name)
    tf.matrix_inverse(input, adjoint, name)
    tf.map_fn(fn, elems, dtype, parallel_iterations, back_prop, swap_memory, infer_shape, name)
    tf.train.get_global_step(graph)
    tf.nn.relu6(features, name)
    tf.assign_add(ref, value, use_locking, name)
    tf.rsqrt(x, name)
    tf.random.uniform(shape, minval, maxval, dtype, seed, name)
    tf.random.normal(shape, mean, stddev, dtype, seed, name)
    tf.tensordot(a, b, axes, name)
    tf.floor(x, name)
    tf.mod(x, y, name)
"""


def expected_arguments() -> dict[str, list[str]]:
    """From the name to its arguments, as POSITIONAL lists them."""
    return {
        name: re.split(r",\s*", given) for name, given in re.findall(r"(tf[\w.]+)\(([^)]*)\)", POSITIONAL)
    }


@pytest.mark.parametrize(("name", "arguments"), expected_arguments().items())
def test_arguments_stand_in_tensorflows_order(name: str, arguments: list[str]) -> None:
    function: Any = tf
    for part in name.split(".")[1:]:
        function = getattr(function, part)
    taken = [
        p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert taken[: len(arguments)] == arguments


# ---------------------------------------------------------------- what importing does


def test_second_names_mean_the_same() -> None:
    assert tf.__version__ == tf.VERSION
    assert tf.initialize_all_variables is tf.global_variables_initializer
    assert tf.math.log is tf.log
    assert tf.nn.sigmoid is tf.sigmoid
    assert tf.linalg.inv is tf.matrix_inverse
    assert tf.random.normal is tf.random_normal
    assert tf.newaxis is None
    assert tf.bool.name == "bool"


def test_import_needs_little_beyond_numpy() -> None:
    program = (
        "import sys, numpy, ml_dtypes; before = set(sys.modules); import tahr; "
        "print(*sorted(name for name in set(sys.modules) - before if '.' not in name))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "asyncio",
        "concurrent",
        "email",
        "http",
        "json",
        "logging",
        "multiprocessing",
        "socket",
        "urllib",
    }
    assert heavy.isdisjoint(result.stdout.split())


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.test_api --write")
    GOLDEN.write_text("\n".join(surface()) + "\n", encoding="utf-8")
