"""Default names and op types: what one call adds to the graph.

Each call is made in a fresh graph beside the same inputs. A call is compared in one of three ways (the last
two are loose):

* exactly: the names of its results, and name and type of every operation it added;
* "result": only the names of its results. TensorFlow's own releases differ inside, or tahr's structured
  control flow does;
* "scope": only the first part of the results' names. TensorFlow 1.15 and the recording release differ in the
  rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import SAME_TYPE, Cases, operations

Call = Callable[[Any, Any], Any]


class Inputs:
    """The tensors that the calls take: placeholders, so that nothing can be folded."""

    def __init__(self, tf: Any) -> None:
        self.x = tf.placeholder(tf.float32, [2, 3], name="x")
        self.y = tf.placeholder(tf.float32, [2, 3], name="y")
        self.m = tf.placeholder(tf.float32, [3, 4], name="m")
        self.v = tf.placeholder(tf.float32, [3], name="v")
        self.batch = tf.placeholder(tf.float32, [None, 3], name="batch")
        self.unranked = tf.placeholder(tf.float32, name="unranked")
        self.i = tf.placeholder(tf.int32, [4], name="i")
        self.p = tf.placeholder(tf.bool, [2, 3], name="p")
        self.flag = tf.placeholder(tf.bool, [], name="flag")
        self.step = tf.placeholder(tf.int32, [], name="step")
        self.image = tf.placeholder(tf.float32, [1, 8, 8, 2], name="image")
        self.filter = tf.placeholder(tf.float32, [3, 3, 2, 4], name="filter")


EXACT: dict[str, Call] = {
    "constant": lambda tf, a: tf.constant(1.0),
    "constant_list": lambda tf, a: tf.constant([1, 2, 3]),
    "constant_named": lambda tf, a: tf.constant(1.0, name="one"),
    "constant_twice": lambda tf, a: [tf.constant(1.0), tf.constant(2.0)],
    "placeholder": lambda tf, a: tf.placeholder(tf.float32, [2]),
    "placeholder_with_default": lambda tf, a: tf.placeholder_with_default(1.0, []),
    "variable": lambda tf, a: tf.Variable([1.0, 2.0]),
    "variable_named": lambda tf, a: tf.Variable(1, name="count"),
    "variable_of_tensor": lambda tf, a: tf.Variable(tf.zeros([2]), name="z"),
    "variables_same_name": lambda tf, a: [tf.Variable(1.0, name="w"), tf.Variable(1.0, name="w")],
    "get_variable_zeros": lambda tf, a: tf.get_variable("w", [2], initializer=tf.zeros_initializer()),
    "get_variable_constant": lambda tf, a: tf.get_variable(
        "w", [2], initializer=tf.constant_initializer(0.5)
    ),
    "get_variable_array": lambda tf, a: tf.get_variable("w", initializer=np.ones(2, np.float32)),
    "identity": lambda tf, a: tf.identity(a.x),
    "identity_named": lambda tf, a: tf.identity(a.x, name="output"),
    "stop_gradient": lambda tf, a: tf.stop_gradient(a.x),
    "plus": lambda tf, a: a.x + a.y,
    "plus_constant": lambda tf, a: a.x + 1.0,
    "constant_plus": lambda tf, a: 1.0 + a.x,
    "plus_twice": lambda tf, a: [a.x + a.y, a.x + a.y, a.x + 1.0],
    "minus": lambda tf, a: a.x - a.y,
    "constant_minus": lambda tf, a: 1.0 - a.x,
    "times": lambda tf, a: a.x * a.y,
    "times_constant": lambda tf, a: a.x * 2.0,
    "constant_times": lambda tf, a: 2.0 * a.x,
    "divide": lambda tf, a: a.x / a.y,
    "divide_constant": lambda tf, a: a.x / 2.0,
    "constant_divide": lambda tf, a: 2.0 / a.x,
    "divide_integers": lambda tf, a: a.i / a.i,
    "floor_divide": lambda tf, a: a.x // a.y,
    "floor_divide_integers": lambda tf, a: a.i // 2,
    "modulo": lambda tf, a: a.i % 2,
    "power": lambda tf, a: a.x**a.y,
    "power_constant": lambda tf, a: a.x**2,
    "matmul_operator": lambda tf, a: a.x @ a.m,
    "negate": lambda tf, a: -a.x,
    "absolute": lambda tf, a: abs(a.x),
    "less": lambda tf, a: a.x < a.y,
    "less_equal": lambda tf, a: a.x <= a.y,
    "greater": lambda tf, a: a.x > 0.0,
    "greater_equal": lambda tf, a: a.x >= a.y,
    "and": lambda tf, a: a.p & a.p,
    "or": lambda tf, a: a.p | a.p,
    "invert": lambda tf, a: ~a.p,
    "add": lambda tf, a: tf.add(a.x, a.y),
    "subtract": lambda tf, a: tf.subtract(a.x, a.y),
    "multiply": lambda tf, a: tf.multiply(a.x, a.y),
    "multiply_constant": lambda tf, a: tf.multiply(a.x, 2.0),
    "divide_function": lambda tf, a: tf.divide(a.x, a.y),
    "div": lambda tf, a: tf.div(a.x, a.y),
    "truediv": lambda tf, a: tf.truediv(a.x, a.y),
    "floordiv": lambda tf, a: tf.floordiv(a.x, a.y),
    "mod": lambda tf, a: tf.mod(a.x, a.y),
    "pow": lambda tf, a: tf.pow(a.x, a.y),
    "add_n": lambda tf, a: tf.add_n([a.x, a.y]),
    "equal": lambda tf, a: tf.equal(a.x, a.y),
    "not_equal": lambda tf, a: tf.not_equal(a.x, a.y),
    "less_function": lambda tf, a: tf.less(a.x, a.y),
    "logical_and": lambda tf, a: tf.logical_and(a.p, a.p),
    "logical_not": lambda tf, a: tf.logical_not(a.p),
    "maximum": lambda tf, a: tf.maximum(a.x, 0.0),
    "minimum": lambda tf, a: tf.minimum(a.x, a.y),
    "squared_difference": lambda tf, a: tf.squared_difference(a.x, a.y),
    "cast": lambda tf, a: tf.cast(a.x, tf.int32),
    "cast_to_same": lambda tf, a: tf.cast(a.x, tf.float32),
    "to_float": lambda tf, a: tf.to_float(a.i),
    "matmul": lambda tf, a: tf.matmul(a.x, a.m),
    "matmul_transposed": lambda tf, a: tf.matmul(a.x, a.y, transpose_b=True),
    "matmul_batch": lambda tf, a: tf.matmul(a.image, a.image, transpose_b=True),
    "reduce_sum": lambda tf, a: tf.reduce_sum(a.x),
    "reduce_sum_axis": lambda tf, a: tf.reduce_sum(a.x, 1),
    "reduce_mean": lambda tf, a: tf.reduce_mean(a.x),
    "reduce_mean_axes": lambda tf, a: tf.reduce_mean(a.image, [1, 2], keepdims=True),
    "reduce_mean_named": lambda tf, a: tf.reduce_mean(a.x, name="loss"),
    "reduce_max": lambda tf, a: tf.reduce_max(a.x, axis=0),
    "reduce_min": lambda tf, a: tf.reduce_min(a.x),
    "reduce_prod": lambda tf, a: tf.reduce_prod(a.x),
    "reduce_any": lambda tf, a: tf.reduce_any(a.p),
    "reduce_all": lambda tf, a: tf.reduce_all(a.p),
    "argmax": lambda tf, a: tf.argmax(a.x, 1),
    "argmin": lambda tf, a: tf.argmin(a.x, axis=0),
    "cumsum": lambda tf, a: tf.cumsum(a.x),
    "reshape": lambda tf, a: tf.reshape(a.x, [3, 2]),
    "reshape_flat": lambda tf, a: tf.reshape(a.x, [-1]),
    "transpose": lambda tf, a: tf.transpose(a.x, [1, 0]),
    "shape": lambda tf, a: tf.shape(a.x),
    "shape_unknown": lambda tf, a: tf.shape(a.batch),
    "size_unknown": lambda tf, a: tf.size(a.batch),
    "rank": lambda tf, a: tf.rank(a.x),
    "rank_unknown": lambda tf, a: tf.rank(a.unranked),
    "concat": lambda tf, a: tf.concat([a.x, a.y], 1),
    "concat_one": lambda tf, a: tf.concat([a.x], 1),
    "split": lambda tf, a: tf.split(a.x, 3, axis=1),
    "split_sizes": lambda tf, a: tf.split(a.x, [1, 2], 1),
    "stack": lambda tf, a: tf.stack([a.x, a.y]),
    "unstack": lambda tf, a: tf.unstack(a.x),
    "index": lambda tf, a: a.x[0],
    "slices": lambda tf, a: a.x[1:, ..., tf.newaxis],
    "index_twice": lambda tf, a: [a.x[0], a.x[1]],
    "slice": lambda tf, a: tf.slice(a.x, [0, 1], [2, 1]),
    "gather": lambda tf, a: tf.gather(a.x, [0, 1]),
    "gather_nd": lambda tf, a: tf.gather_nd(a.x, [[0, 1]]),
    "expand_dims": lambda tf, a: tf.expand_dims(a.x, -1),
    "squeeze": lambda tf, a: tf.squeeze(a.image),
    "tile": lambda tf, a: tf.tile(a.x, [2, 1]),
    "pad": lambda tf, a: tf.pad(a.x, [[1, 1], [0, 0]]),
    "pad_value": lambda tf, a: tf.pad(a.x, [[1, 1], [0, 0]], constant_values=1.0),
    "pad_reflect": lambda tf, a: tf.pad(a.x, [[1, 1], [0, 0]], mode="REFLECT"),
    "reverse": lambda tf, a: tf.reverse(a.x, [1]),
    "where": lambda tf, a: tf.where(a.p, a.x, a.y),
    "where_indices": lambda tf, a: tf.where(a.p),
    "one_hot": lambda tf, a: tf.one_hot(a.i, 10),
    "range": lambda tf, a: tf.range(5),
    "fill": lambda tf, a: tf.fill([2, 3], 1.0),
    "zeros": lambda tf, a: tf.zeros([2, 3]),
    "ones": lambda tf, a: tf.ones([2]),
    "zeros_like": lambda tf, a: tf.zeros_like(a.x),
    "zeros_like_unknown": lambda tf, a: tf.zeros_like(a.batch),
    "top_k": lambda tf, a: list(tf.nn.top_k(a.x, 2)),
    "in_top_k": lambda tf, a: tf.nn.in_top_k(a.m, a.i[:3], 1),
    "unique": lambda tf, a: list(tf.unique(a.i)),
    "unsorted_segment_sum": lambda tf, a: tf.unsorted_segment_sum(a.i, a.i, 3),
    "square": lambda tf, a: tf.square(a.x),
    "sqrt": lambda tf, a: tf.sqrt(a.x),
    "rsqrt": lambda tf, a: tf.rsqrt(a.x),
    "exp": lambda tf, a: tf.exp(a.x),
    "log": lambda tf, a: tf.log(a.x),
    "sin": lambda tf, a: tf.sin(a.x),
    "sign": lambda tf, a: tf.sign(a.x),
    "floor": lambda tf, a: tf.floor(a.x),
    "sigmoid": lambda tf, a: tf.sigmoid(a.x),
    "tanh": lambda tf, a: tf.tanh(a.x),
    "relu": lambda tf, a: tf.nn.relu(a.x),
    "relu6": lambda tf, a: tf.nn.relu6(a.x),
    "elu": lambda tf, a: tf.nn.elu(a.x),
    "softplus": lambda tf, a: tf.nn.softplus(a.x),
    "leaky_relu": lambda tf, a: tf.nn.leaky_relu(a.x),
    "softmax": lambda tf, a: tf.nn.softmax(a.x),
    "log_softmax": lambda tf, a: tf.nn.log_softmax(a.x),
    "softmax_inner": lambda tf, a: tf.nn.softmax(a.image, axis=1),
    "softmax_inner_from_the_end": lambda tf, a: tf.nn.softmax(a.image, axis=-2, name="p"),
    "log_softmax_inner": lambda tf, a: tf.nn.log_softmax(a.x, axis=0, name="p"),
    "cosine_decay": lambda tf, a: tf.train.cosine_decay(0.1, a.step, 10, alpha=0.1),
    "exponential_decay": lambda tf, a: tf.train.exponential_decay(0.1, a.step, 10, 0.5, staircase=True),
    "natural_exp_decay": lambda tf, a: tf.train.natural_exp_decay(0.1, a.step, 10, 0.5),
    "inverse_time_decay": lambda tf, a: tf.train.inverse_time_decay(0.1, a.step, 10, 0.5),
    "polynomial_decay": lambda tf, a: tf.train.polynomial_decay(0.1, a.step, 10),
    "linear_cosine_decay": lambda tf, a: tf.train.linear_cosine_decay(0.1, a.step, 10),
    "noisy_linear_cosine_decay": lambda tf, a: tf.train.noisy_linear_cosine_decay(0.1, a.step, 10),
    "slice_assign": lambda tf, a: tf.Variable([1.0, 2.0], name="w")[0].assign(3.0),
    "pack_of_another_dtype": lambda tf, a: tf.convert_to_tensor([a.step, 2], tf.float32),
    "multiply_by_list_with_tensor": lambda tf, a: a.v * [1.0, 2.0, a.step],
    "ones_of_int64": lambda tf, a: tf.ones([tf.cast(a.step, tf.int64), 2]),
    "roll": lambda tf, a: tf.roll(a.x, 1, 0),
    "unravel_index": lambda tf, a: tf.unravel_index(a.i, [2, 3]),
    "reduce_std": lambda tf, a: tf.math.reduce_std(a.x, 1),
    "reduce_variance": lambda tf, a: tf.math.reduce_variance(a.x, keepdims=True),
    "sparse_to_dense": lambda tf, a: tf.sparse_to_dense([[0, 1]], [2, 2], 1.5),
    "matrix_square_root": lambda tf, a: tf.linalg.sqrtm(a.x @ a.m[:, :2]),
    "dilation2d": lambda tf, a: tf.nn.dilation2d(
        a.image, a.filter[..., 0], [1, 1, 1, 1], [1, 1, 1, 1], "SAME"
    ),
    "erosion2d": lambda tf, a: tf.nn.erosion2d(a.image, a.filter[..., 0], [1, 1, 1, 1], [1, 1, 1, 1], "SAME"),
    "bias_add": lambda tf, a: tf.nn.bias_add(a.x, a.v),
    "l2_loss": lambda tf, a: tf.nn.l2_loss(a.x),
    "conv2d": lambda tf, a: tf.nn.conv2d(a.image, a.filter, strides=[1, 1, 1, 1], padding="SAME"),
    "max_pool": lambda tf, a: tf.nn.max_pool(a.image, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
    "avg_pool": lambda tf, a: tf.nn.avg_pool(a.image, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"),
    "lrn": lambda tf, a: tf.nn.local_response_normalization(a.image),
    "group": lambda tf, a: tf.group(a.x.op, a.y.op),
    "group_named": lambda tf, a: tf.group(tf.identity(a.x), name="train"),
    "no_op": lambda tf, a: tf.no_op(),
    "tuple": lambda tf, a: tf.tuple([a.x, a.y]),
    "assign": lambda tf, a: tf.assign(tf.Variable(1.0, name="w"), 2.0),
    "assign_add": lambda tf, a: tf.assign_add(tf.Variable(1.0, name="w"), 2.0),
    "assign_sub_method": lambda tf, a: tf.Variable(1.0, name="w").assign_sub(2.0),
    "scatter_update": lambda tf, a: tf.scatter_update(tf.Variable([1.0, 2.0], name="w"), [0], [3.0]),
    "read_value": lambda tf, a: tf.Variable(1.0, name="w").read_value(),
    "global_variables_initializer": lambda tf, a: [
        tf.Variable(1.0, name="w").op,
        tf.global_variables_initializer(),
    ],
    "check_numerics": lambda tf, a: tf.check_numerics(a.x, "bad"),
    "py_func": lambda tf, a: tf.py_func(np.sin, [a.x], tf.float32),
    "matrix_inverse": lambda tf, a: tf.matrix_inverse(a.image[0, :, :, 0]),
    "cholesky": lambda tf, a: tf.cholesky(a.image[0, :, :, 0]),
    "diag": lambda tf, a: tf.diag(a.v),
}

RESULT: dict[str, Call] = {
    "ones_like": lambda tf, a: tf.ones_like(a.x),
    "strided_slice": lambda tf, a: tf.strided_slice(a.x, [0, 0], [2, 2]),
    "transpose_free": lambda tf, a: tf.transpose(a.x),
    "size": lambda tf, a: tf.size(a.x),
    "range_delta": lambda tf, a: tf.range(0, 10, 2),
    "reduce_sum_unknown": lambda tf, a: tf.reduce_sum(a.unranked),
    "reduce_logsumexp": lambda tf, a: tf.reduce_logsumexp(a.x),
    "get_variable_random": lambda tf, a: tf.get_variable("w", [2]),
    "get_variable_normal": lambda tf, a: tf.get_variable(
        "w", [2], initializer=tf.random_normal_initializer()
    ),
    "random_normal": lambda tf, a: tf.random_normal([2]),
    "random_uniform_integers": lambda tf, a: tf.random_uniform([2], maxval=5, dtype=tf.int32),
    "truncated_normal": lambda tf, a: tf.truncated_normal([2]),
    "random_shuffle": lambda tf, a: tf.random_shuffle(a.x),
    "multinomial": lambda tf, a: tf.multinomial(a.x, 1),
    "cond": lambda tf, a: tf.cond(a.flag, lambda: a.x, lambda: a.y),
    "cond_twice": lambda tf, a: [tf.cond(a.flag, lambda: a.x, lambda: a.y) for _ in range(2)],
    "cond_named": lambda tf, a: tf.cond(a.flag, lambda: a.x + 1.0, lambda: a.y, name="choice"),
    "while_loop": lambda tf, a: tf.while_loop(lambda i: i < 10, lambda i: i + 1, [tf.constant(0)]),
    "while_loop_two": lambda tf, a: tf.while_loop(
        lambda i, x: i < 3, lambda i, x: (i + 1, x * 2.0), [tf.constant(0), a.x]
    ),
    "while_loop_named": lambda tf, a: tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0], name="loop"),
    "softmax_cross_entropy": lambda tf, a: tf.nn.softmax_cross_entropy_with_logits(labels=a.y, logits=a.x),
    "softmax_cross_entropy_v2": lambda tf, a: tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=a.y, logits=a.x
    ),
    "sparse_softmax_cross_entropy": lambda tf, a: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=a.i[:2], logits=a.x
    ),
    "sigmoid_cross_entropy": lambda tf, a: tf.nn.sigmoid_cross_entropy_with_logits(labels=a.y, logits=a.x),
    "weighted_cross_entropy": lambda tf, a: tf.nn.weighted_cross_entropy_with_logits(a.y, a.x, 2.0),
    "l2_normalize": lambda tf, a: tf.nn.l2_normalize(a.x, 1),
    "moments": lambda tf, a: tf.nn.moments(a.x, [0]),
    "batch_normalization": lambda tf, a: tf.nn.batch_normalization(a.x, a.v, a.v, a.v, a.v, 1e-3),
    "embedding_lookup": lambda tf, a: tf.nn.embedding_lookup(a.x, a.i),
    "xw_plus_b": lambda tf, a: tf.nn.xw_plus_b(a.x, a.m, tf.ones([4])),
    "norm": lambda tf, a: tf.norm(a.x),
    "boolean_mask": lambda tf, a: tf.boolean_mask(a.x, a.p),
    "sequence_mask": lambda tf, a: tf.sequence_mask(a.i, 5),
    "losses_mse": lambda tf, a: tf.losses.mean_squared_error(a.y, a.x),
    "losses_absolute": lambda tf, a: tf.losses.absolute_difference(a.y, a.x),
    "losses_softmax": lambda tf, a: tf.losses.softmax_cross_entropy(a.y, a.x),
    "losses_sparse": lambda tf, a: tf.losses.sparse_softmax_cross_entropy(a.i[:2], a.x),
    "losses_sigmoid": lambda tf, a: tf.losses.sigmoid_cross_entropy(a.y, a.x),
    "losses_huber": lambda tf, a: tf.losses.huber_loss(a.y, a.x),
    "losses_hinge": lambda tf, a: tf.losses.hinge_loss(a.y, a.x),
    "losses_log": lambda tf, a: tf.losses.log_loss(a.y, a.x),
    "total_loss": lambda tf, a: [tf.losses.mean_squared_error(a.y, a.x), tf.losses.get_total_loss()],
    "conv1d": lambda tf, a: tf.nn.conv1d(a.image[0], a.filter[0], 1, "SAME"),
    "conv2d_transpose": lambda tf, a: tf.nn.conv2d_transpose(
        tf.zeros([1, 4, 4, 4]), a.filter, [1, 8, 8, 2], [1, 2, 2, 1]
    ),
    "fused_batch_norm": lambda tf, a: list(tf.nn.fused_batch_norm(a.image, [1.0, 1.0], [0.0, 0.0]))[:3],
    "map_fn": lambda tf, a: tf.map_fn(lambda row: row + 1.0, a.x),
    "scan": lambda tf, a: tf.scan(lambda total, row: total + row, a.x),
    "clip_by_value": lambda tf, a: tf.clip_by_value(a.x, 0.0, 1.0),
    "trace": lambda tf, a: tf.trace(a.x),
    "matmul_adjoint": lambda tf, a: tf.matmul(a.image, a.image, adjoint_b=True),
    "crelu": lambda tf, a: tf.nn.crelu(a.x),
    "print": lambda tf, a: tf.Print(a.x, [a.x]),
}

SCOPE: dict[str, Call] = {
    "foldl": lambda tf, a: tf.foldl(lambda total, row: total + row, a.x),
    "tensordot": lambda tf, a: tf.tensordot(a.x, a.m, 1),
    "random_uniform": lambda tf, a: tf.random_uniform([2]),
    "dropout": lambda tf, a: tf.nn.dropout(a.x, 0.5),
    "dropout_rate": lambda tf, a: tf.nn.dropout(a.x, rate=0.5),
    "einsum": lambda tf, a: tf.einsum("ij,jk->ik", a.x, a.m),
    "depthwise_conv2d": lambda tf, a: tf.nn.depthwise_conv2d(a.image, a.filter, [1, 1, 1, 1], "SAME"),
    "separable_conv2d": lambda tf, a: tf.nn.separable_conv2d(
        a.image, a.filter, tf.zeros([1, 1, 8, 3]), [1, 1, 1, 1], "SAME"
    ),
    "case": lambda tf, a: tf.case([(a.flag, lambda: a.x)], default=lambda: a.y),
    "confusion_matrix": lambda tf, a: tf.confusion_matrix(a.i, a.i, 3),
    "gradients": lambda tf, a: tf.gradients(tf.reduce_sum(a.x * a.y), [a.x]),
    "nce_loss": lambda tf, a: tf.nn.nce_loss(a.x, a.v[:2], a.i[:1, None], a.x[:1], 2, 2),
    "sampled_softmax_loss": lambda tf, a: tf.nn.sampled_softmax_loss(
        a.x, a.v[:2], a.i[:1, None], a.x[:1], 2, 2
    ),
    "sgdr_decay": lambda tf, a: tf.train.cosine_decay_restarts(0.1, a.step, 10),
    "repeat": lambda tf, a: tf.repeat(a.x, 2, axis=0),
    "cond_of_operations": lambda tf, a: tf.cond(a.flag, tf.no_op, tf.no_op),
    "gradients_named": lambda tf, a: tf.gradients(tf.square(a.x), [a.x], name="slopes"),
}


def result_names(result: Any) -> Any:
    """Names of tensors, operations and variables, nested as they came."""
    if isinstance(result, (list, tuple)):
        return [result_names(item) for item in result]
    return result.name


def call_case(tf: Any, call: Call, compared: str) -> dict[str, Any]:
    inputs = Inputs(tf)
    before = len(operations(tf))
    names = result_names(call(tf, inputs))
    if compared == "scope":
        names = names[0] if isinstance(names, list) else names
        return {"scope": names.split("/")[0].split(":")[0]}
    if compared == "result":
        return {"result": names}
    added = operations(tf)[before:]
    return {"result": names, "ops": [(name, SAME_TYPE.get(kind, kind)) for name, kind in added]}


def name_scopes(tf: Any) -> list[str]:
    """Nested, repeated, absolute and empty name scopes."""
    names = []
    with tf.name_scope("a") as scope:
        names += [scope, tf.constant(1.0).name, tf.Variable(1.0, name="v").name]
        with tf.name_scope("b"):
            names += [tf.constant(1.0).name, tf.no_op().name]
        with tf.name_scope("b") as again:
            names += [again, tf.constant(1.0, name="c").name]
    with tf.name_scope("a"):
        names.append(tf.constant(1.0).name)
    with tf.name_scope(scope):
        names.append(tf.constant(1.0).name)
        with tf.name_scope(""):
            names.append(tf.constant(1.0).name)
        with tf.name_scope(None):
            names.append(tf.constant(1.0).name)
    with tf.name_scope(None, "default", [1.0]) as default:
        names += [default, tf.constant(1.0).name]
    with tf.name_scope("given", "default") as given:
        names += [given, tf.constant(1.0, name="given").name]
    return names


def unique_names(tf: Any) -> list[str]:
    """How names clash: case is ignored, suffixes count per name, and a taken suffix is skipped."""
    graph = tf.get_default_graph()
    taken = [tf.constant(0, name=name).name for name in ("c", "c", "C", "c_1", "c", "c_1", "d/e", "d/e", "d")]
    return [
        *taken,
        graph.unique_name("c"),
        graph.unique_name("fresh"),
        graph.unique_name("fresh"),
        graph.unique_name("look", mark_as_used=False),
        graph.unique_name("look"),
    ]


def control_dependencies(tf: Any) -> dict[str, Any]:
    """Control inputs, nested and cleared, and what group and tuple make of them."""
    first = tf.no_op(name="first")
    second = tf.constant(1.0, name="second")
    with tf.control_dependencies([first, second]):
        both = tf.constant(2.0)
        using = tf.identity(second)
        with tf.control_dependencies(None):
            free = tf.constant(3.0)
    grouped = tf.group(both, second.op)
    return {
        op.name: sorted(item.name for item in op.control_inputs)
        for op in (both.op, using.op, free.op, grouped)
    }


CASES: Cases = {}
for _compared, _calls in (("exact", EXACT), ("result", RESULT), ("scope", SCOPE)):
    for _name, _call in _calls.items():
        CASES[_name] = lambda tf, call=_call, compared=_compared: call_case(tf, call, compared)
for _case in (name_scopes, unique_names, control_dependencies):
    CASES[_case.__name__] = _case
