"""Static shapes from partly known inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .harness import Cases, static_shape

Call = Callable[[Any, Any], Any]


class Inputs:
    """Placeholders: `b` stands for the batch, `q` for a dimension too; `any` has no known rank."""

    def __init__(self, tf: Any) -> None:
        self.b3 = tf.placeholder(tf.float32, [None, 3])
        self.q3 = tf.placeholder(tf.float32, [None, 3])
        self.x23 = tf.placeholder(tf.float32, [2, 3])
        self.bb = tf.placeholder(tf.float32, [None, None])
        self.m34 = tf.placeholder(tf.float32, [3, 4])
        self.any = tf.placeholder(tf.float32)
        self.scalar = tf.placeholder(tf.float32, [])
        self.b157 = tf.placeholder(tf.float32, [None, 1, 5, 7])
        self.image = tf.placeholder(tf.float32, [None, 28, 29, 3])
        self.loose_image = tf.placeholder(tf.float32, [None, None, None, 3])
        self.channels_first = tf.placeholder(tf.float32, [None, 3, 28, 29])
        self.filter = tf.placeholder(tf.float32, [5, 3, 3, 8])
        self.n = tf.placeholder(tf.int32, [])
        self.ids = tf.placeholder(tf.int32, [None])
        self.ids_any = tf.placeholder(tf.int32)
        self.flags = tf.placeholder(tf.bool, [None])


CALLS: dict[str, Call] = {
    "add_same": lambda tf, a: a.b3 + a.q3,
    "add_known_batch": lambda tf, a: a.b3 + a.x23,
    "add_scalar": lambda tf, a: a.b3 + 1.0,
    "add_row": lambda tf, a: a.b3 + tf.ones([3]),
    "add_column": lambda tf, a: a.b3 + tf.ones([7, 1]),
    "add_unknown": lambda tf, a: a.bb + a.b3,
    "add_any": lambda tf, a: a.any + a.b3,
    "add_rank": lambda tf, a: a.b157 + tf.ones([4, 1, 1]),
    "less": lambda tf, a: a.b3 < a.scalar,
    "matmul": lambda tf, a: tf.matmul(a.b3, a.m34),
    "matmul_transposed": lambda tf, a: tf.matmul(a.b3, a.q3, transpose_b=True),
    "matmul_transpose_a": lambda tf, a: tf.matmul(a.b3, a.q3, transpose_a=True),
    "matmul_any": lambda tf, a: tf.matmul(a.any, a.m34),
    "matmul_batch": lambda tf, a: tf.matmul(a.b157, tf.ones([6, 7, 2])),
    "tensordot": lambda tf, a: tf.tensordot(a.b157, tf.ones([7, 2]), 1),
    "tensordot_axes": lambda tf, a: tf.tensordot(a.b157, tf.ones([5, 7, 9]), [[2, 3], [0, 1]]),
    "einsum": lambda tf, a: tf.einsum("bi,ij->bj", a.b3, a.m34),
    "einsum_implicit": lambda tf, a: tf.einsum("ij,jk", a.b3, a.m34),
    "reduce_all": lambda tf, a: tf.reduce_sum(a.b3),
    "reduce_any_rank": lambda tf, a: tf.reduce_sum(a.any),
    "reduce_axis": lambda tf, a: tf.reduce_mean(a.b3, 1),
    "reduce_keep": lambda tf, a: tf.reduce_max(a.b157, [1, -1], keepdims=True),
    "reduce_any_axis": lambda tf, a: tf.reduce_sum(a.any, 0),
    "reduce_fed_axis": lambda tf, a: tf.reduce_sum(a.b157, a.n),
    "reduce_fed_axis_keep": lambda tf, a: tf.reduce_sum(a.b157, a.n, keepdims=True),
    "argmax": lambda tf, a: tf.argmax(a.b157, 1),
    "argmax_last": lambda tf, a: tf.argmax(a.b3, -1),
    "reshape": lambda tf, a: tf.reshape(a.b3, [-1, 3, 1]),
    "reshape_known": lambda tf, a: tf.reshape(a.x23, [-1]),
    "reshape_divides": lambda tf, a: tf.reshape(a.image, [-1, 28 * 29 * 3]),
    "reshape_stack": lambda tf, a: tf.reshape(a.image, tf.stack([tf.shape(a.image)[0], 2436])),
    "reshape_list": lambda tf, a: tf.reshape(a.image, [tf.shape(a.image)[0], -1]),
    "reshape_shape_of": lambda tf, a: tf.reshape(a.any, tf.shape(a.b3)),
    "reshape_concat": lambda tf, a: tf.reshape(a.any, tf.concat([tf.shape(a.b3)[:1], [4, 5]], 0)),
    "reshape_fed": lambda tf, a: tf.reshape(a.x23, a.ids),
    "reshape_product": lambda tf, a: tf.reshape(a.b157, [-1, tf.shape(a.b157)[2] * tf.shape(a.b157)[3]]),
    "transpose": lambda tf, a: tf.transpose(a.b157, [3, 0, 2, 1]),
    "transpose_free": lambda tf, a: tf.transpose(a.b157),
    "transpose_any": lambda tf, a: tf.transpose(a.any, [1, 0]),
    "expand_dims": lambda tf, a: tf.expand_dims(a.b3, 1),
    "expand_dims_last": lambda tf, a: tf.expand_dims(a.b3, -1),
    "expand_dims_any": lambda tf, a: tf.expand_dims(a.any, 0),
    "squeeze": lambda tf, a: tf.squeeze(a.b157, [1]),
    "squeeze_all": lambda tf, a: tf.squeeze(tf.ones([1, 2, 1])),
    "squeeze_unknown": lambda tf, a: tf.squeeze(a.b157),
    "concat": lambda tf, a: tf.concat([a.b3, a.q3], 0),
    "concat_known": lambda tf, a: tf.concat([a.x23, a.x23], 0),
    "concat_features": lambda tf, a: tf.concat([a.b3, a.x23], 1),
    "concat_any": lambda tf, a: tf.concat([a.any, a.b3], 1),
    "concat_fed_axis": lambda tf, a: tf.concat([a.b3, a.b3], a.n),
    "stack": lambda tf, a: tf.stack([a.b3, a.x23], 1),
    "unstack": lambda tf, a: tf.unstack(a.b3, axis=1)[0],
    "split": lambda tf, a: tf.split(a.b157, 7, 3)[0],
    "split_sizes": lambda tf, a: tf.split(a.b3, [1, 2], 1)[1],
    "split_unknown": lambda tf, a: tf.split(a.b3, 2, 0)[0],
    "index": lambda tf, a: a.b3[0],
    "slice_unknown": lambda tf, a: a.b3[1:],
    "slice_known": lambda tf, a: a.b157[:, 0, 1:-1, ::2],
    "slice_stop": lambda tf, a: a.b3[:2],
    "slice_negative": lambda tf, a: a.b157[..., ::-1],
    "slice_newaxis": lambda tf, a: a.b3[:, tf.newaxis, ..., 0],
    "slice_fed": lambda tf, a: a.x23[a.n :],
    "index_fed": lambda tf, a: a.x23[a.n],
    "slice_any": lambda tf, a: a.any[0],
    "slice_shape_value": lambda tf, a: tf.zeros(tf.shape(a.b157)[1:3]),
    "slice_function": lambda tf, a: tf.slice(a.b157, [0, 0, 1, 2], [-1, 1, 2, -1]),
    "slice_fed_size": lambda tf, a: tf.slice(a.x23, [0, 0], [a.n, 2]),
    "gather": lambda tf, a: tf.gather(a.m34, a.ids),
    "gather_axis": lambda tf, a: tf.gather(a.b157, [0, 2], axis=3),
    "gather_any": lambda tf, a: tf.gather(a.m34, a.ids_any),
    "gather_nd": lambda tf, a: tf.gather_nd(a.b157, tf.zeros([6, 2], tf.int32)),
    "embedding_lookup": lambda tf, a: tf.nn.embedding_lookup(a.m34, a.ids),
    "scatter_nd": lambda tf, a: tf.scatter_nd(a.ids[:, tf.newaxis], a.b3, [8, 3]),
    "one_hot": lambda tf, a: tf.one_hot(a.ids, 10),
    "one_hot_axis": lambda tf, a: tf.one_hot(a.ids, 10, axis=0),
    "one_hot_fed_depth": lambda tf, a: tf.one_hot(a.ids, a.n),
    "tile": lambda tf, a: tf.tile(a.b3, [2, 4]),
    "tile_fed": lambda tf, a: tf.tile(a.x23, [a.n, 2]),
    "pad": lambda tf, a: tf.pad(a.b3, [[0, 0], [1, 2]]),
    "pad_batch": lambda tf, a: tf.pad(a.b3, [[1, 1], [0, 0]]),
    "zeros_like": lambda tf, a: tf.zeros_like(a.b3),
    "zeros_of_shape": lambda tf, a: tf.zeros(tf.shape(a.b3)),
    "zeros_mixed": lambda tf, a: tf.zeros([tf.shape(a.b3)[0], 5]),
    "zeros_fed": lambda tf, a: tf.zeros([a.n, 5]),
    "fill": lambda tf, a: tf.fill([2, 3], a.scalar),
    "fill_stack": lambda tf, a: tf.fill(tf.stack([tf.shape(a.b3)[0], 4]), 1.0),
    "random_normal": lambda tf, a: tf.random_normal([tf.shape(a.b3)[0], 5]),
    "range": lambda tf, a: tf.range(2, 11, 3),
    "range_fed": lambda tf, a: tf.range(a.n),
    "linspace": lambda tf, a: tf.linspace(0.0, 1.0, 7),
    "shape": lambda tf, a: tf.shape(a.b157),
    "shape_any": lambda tf, a: tf.shape(a.any),
    "where": lambda tf, a: tf.where(a.b3 > 0.0, a.b3, a.q3),
    "where_known": lambda tf, a: tf.where(a.b3 > 0.0, a.b3, a.x23),
    "where_indices": lambda tf, a: tf.where(a.b3 > 0.0),
    "boolean_mask": lambda tf, a: tf.boolean_mask(a.b3, a.flags),
    "unique": lambda tf, a: tf.unique(a.ids)[0],
    "top_k": lambda tf, a: tf.nn.top_k(a.b157, 2).values,
    "in_top_k": lambda tf, a: tf.nn.in_top_k(a.b3, a.ids, 1),
    "cumsum": lambda tf, a: tf.cumsum(a.b3),
    "reverse": lambda tf, a: tf.reverse(a.b3, [1]),
    "segment_sum": lambda tf, a: tf.segment_sum(a.b3, a.ids),
    "unsorted_segment_sum": lambda tf, a: tf.unsorted_segment_sum(a.b3, a.ids, 4),
    "sequence_mask": lambda tf, a: tf.sequence_mask(a.ids, 6),
    "sequence_mask_free": lambda tf, a: tf.sequence_mask(a.ids),
    "conv2d_same": lambda tf, a: tf.nn.conv2d(a.image, a.filter, [1, 2, 2, 1], "SAME"),
    "conv2d_valid": lambda tf, a: tf.nn.conv2d(a.image, a.filter, [1, 2, 2, 1], "VALID"),
    "conv2d_dilated": lambda tf, a: tf.nn.conv2d(
        a.image, a.filter, [1, 1, 1, 1], "VALID", dilations=[1, 2, 2, 1]
    ),
    "conv2d_unknown": lambda tf, a: tf.nn.conv2d(a.loose_image, a.filter, [1, 2, 2, 1], "SAME"),
    "conv2d_explicit": lambda tf, a: tf.nn.conv2d(
        a.image, a.filter, [1, 1, 1, 1], [[0, 0], [1, 2], [3, 4], [0, 0]]
    ),
    "conv2d_nchw": lambda tf, a: tf.nn.conv2d(
        a.channels_first, a.filter, [1, 1, 2, 2], "SAME", data_format="NCHW"
    ),
    "conv2d_transpose": lambda tf, a: tf.nn.conv2d_transpose(
        a.image, tf.ones([3, 3, 8, 3]), [4, 56, 58, 8], [1, 2, 2, 1]
    ),
    "conv2d_transpose_batch": lambda tf, a: tf.nn.conv2d_transpose(
        a.image, tf.ones([3, 3, 8, 3]), [tf.shape(a.image)[0], 56, 58, 8], [1, 2, 2, 1]
    ),
    "depthwise_conv2d": lambda tf, a: tf.nn.depthwise_conv2d(
        a.image, tf.ones([3, 3, 3, 2]), [1, 1, 1, 1], "VALID"
    ),
    "max_pool": lambda tf, a: tf.nn.max_pool(a.image, [1, 3, 3, 1], [1, 2, 2, 1], "VALID"),
    "avg_pool_same": lambda tf, a: tf.nn.avg_pool(a.image, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
    "conv1d": lambda tf, a: tf.nn.conv1d(a.b157[:, 0], tf.ones([3, 7, 2]), 1, "VALID"),
    "softmax": lambda tf, a: tf.nn.softmax(a.b157, axis=1),
    "softmax_cross_entropy": lambda tf, a: tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=a.b3, logits=a.x23
    ),
    "sparse_softmax": lambda tf, a: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=a.ids, logits=a.b3),
    "bias_add": lambda tf, a: tf.nn.bias_add(a.b3, tf.ones([3])),
    "moments": lambda tf, a: tf.nn.moments(a.image, [0, 1, 2])[1],
    "moments_keep": lambda tf, a: tf.nn.moments(a.image, [0], keep_dims=True)[0],
    "l2_normalize": lambda tf, a: tf.nn.l2_normalize(a.b3, 1),
    "dropout": lambda tf, a: tf.nn.dropout(a.b3, 0.5),
    "fused_batch_norm": lambda tf, a: tf.nn.fused_batch_norm(a.image, tf.ones([3]), tf.zeros([3]))[0],
    "identity_any": lambda tf, a: tf.identity(a.any),
    "add_n": lambda tf, a: tf.add_n([a.b3, a.x23]),
    "cast": lambda tf, a: tf.cast(a.b3, tf.int32),
    "cond_same": lambda tf, a: tf.cond(a.scalar > 0.0, lambda: a.x23, lambda: a.x23 + 1.0),
    "cond_merged": lambda tf, a: tf.cond(a.scalar > 0.0, lambda: a.x23, lambda: tf.ones([5, 3])),
    "cond_ranks": lambda tf, a: tf.cond(a.scalar > 0.0, lambda: a.x23, lambda: tf.ones([5])),
    "while_fixed": lambda tf, a: tf.while_loop(lambda x: True, lambda x: x + 1.0, [a.x23]),
    "while_grows": lambda tf, a: tf.while_loop(
        lambda x: True, lambda x: tf.concat([x, x], 0), [a.x23], shape_invariants=[tf.TensorShape([None, 3])]
    ),
    "map_fn": lambda tf, a: tf.map_fn(lambda row: row[:2], a.b3),
    "scan": lambda tf, a: tf.scan(lambda s, row: s + row, a.b3),
    "foldl": lambda tf, a: tf.foldl(lambda s, row: s + row, a.b3),
    "py_func": lambda tf, a: tf.py_func(lambda x: x, [a.b3], tf.float32),
    "placeholder_with_default": lambda tf, a: tf.placeholder_with_default(tf.ones([2, 3]), [None, 3]),
    "gradients": lambda tf, a: tf.gradients(a.b3 * 2.0, a.b3)[0],
    "ensure_shape": lambda tf, a: tf.ensure_shape(a.any, [None, 4]),
    "broadcast_to": lambda tf, a: tf.broadcast_to(a.b3, [5, tf.shape(a.b3)[0], 3]),
    "space_to_depth": lambda tf, a: tf.space_to_depth(a.image[:, :, :28], 2),
    "matrix_inverse": lambda tf, a: tf.matrix_inverse(a.bb),
    "diag_part": lambda tf, a: tf.matrix_diag_part(a.b157),
    "matrix_diag": lambda tf, a: tf.matrix_diag(a.b3),
}

# Here TensorFlow gives up early, or knew more in 1.15: (?, 4) for matmul_any. Knowing more is right too.
MAY_KNOW_MORE = {"matmul_any", "reshape_list", "concat_any", "conv2d_transpose"}


def set_shapes(tf: Any) -> dict[str, Any]:
    """set_shape merges; is_compatible_with, merge_with and the text of shapes."""
    x = tf.placeholder(tf.float32)
    x.set_shape([None, 3])
    once = static_shape(x)
    x.set_shape([2, None])
    known, partial, unknown = tf.TensorShape([2, 3]), tf.TensorShape([None, 3]), tf.TensorShape(None)
    return {
        "once": once,
        "merged": static_shape(x),
        "text": [str(known), str(partial), str(unknown), str(tf.TensorShape([])), str(tf.TensorShape([4]))],
        "compatible": [
            known.is_compatible_with(partial),
            known.is_compatible_with([2]),
            unknown.is_compatible_with(known),
            partial.is_compatible_with([5, 4]),
        ],
        "defined": [known.is_fully_defined(), partial.is_fully_defined(), unknown.is_fully_defined()],
        "elements": [known.num_elements(), partial.num_elements(), tf.TensorShape([]).num_elements()],
        "ndims": [known.ndims, unknown.ndims],
        "with_rank": str(unknown.with_rank(2)),
        "concatenated": str(known.concatenate(partial)),
        "sliced": str(known[1:]),
        "dimension": known[0].value,
        "merge": str(partial.merge_with([2, None])),
        "dims": [d.value for d in partial],
        "length": len(known),
        "equal": [known == tf.TensorShape([2, 3]), known == [2, 3], known != partial],
    }


CASES: Cases = {
    name: lambda tf, call=call: static_shape(call(tf, Inputs(tf))) for name, call in CALLS.items()
}
CASES["set_shapes"] = set_shapes
