"""tf.losses: losses."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops.losses import absolute_difference as absolute_difference
from tahr.ops.losses import add_loss as add_loss
from tahr.ops.losses import compute_weighted_loss as compute_weighted_loss
from tahr.ops.losses import cosine_distance as cosine_distance
from tahr.ops.losses import get_losses as get_losses
from tahr.ops.losses import get_regularization_loss as get_regularization_loss
from tahr.ops.losses import get_regularization_losses as get_regularization_losses
from tahr.ops.losses import get_total_loss as get_total_loss
from tahr.ops.losses import hinge_loss as hinge_loss
from tahr.ops.losses import huber_loss as huber_loss
from tahr.ops.losses import log_loss as log_loss
from tahr.ops.losses import mean_pairwise_squared_error as mean_pairwise_squared_error
from tahr.ops.losses import mean_squared_error as mean_squared_error
from tahr.ops.losses import Reduction as Reduction
from tahr.ops.losses import sigmoid_cross_entropy as sigmoid_cross_entropy
from tahr.ops.losses import softmax_cross_entropy as softmax_cross_entropy
from tahr.ops.losses import sparse_softmax_cross_entropy as sparse_softmax_cross_entropy

_boundary.enclose(globals(), __name__)
