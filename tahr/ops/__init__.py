"""The operations: each file a family of ops, each op one block, files importing only those before them."""

# `operators` fills the hooks behind `x + y`, `x[1:]` and `np.exp(x)`, which gradient rules use like everybody else. The
# others are here because every op is known by its name from the start, and no function of `tf` itself needs them.
from tahr.ops import (
    batch_norm as batch_norm,
    candidate_sampling as candidate_sampling,
    convolution as convolution,
    morphology as morphology,
    normalization as normalization,
    operators as operators,
    pooling as pooling,
    training_ops as training_ops,
)
