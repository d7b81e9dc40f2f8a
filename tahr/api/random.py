"""tf.random: random values."""

# ruff: noqa: I001  # one line a name

from tahr.core.scopes import set_random_seed as set_random_seed
from tahr.ops.joining import split as split
from tahr.ops.random import categorical as categorical
from tahr.ops.random import random_gamma as gamma
from tahr.ops.random import get_seed as get_seed
from tahr.ops.random import log_uniform_candidate_sampler as log_uniform_candidate_sampler
from tahr.ops.random import multinomial as multinomial
from tahr.ops.random import random_normal as normal
from tahr.ops.random import random_poisson as poisson
from tahr.ops.random import random_shuffle as shuffle
from tahr.ops.random import truncated_normal as truncated_normal
from tahr.ops.random import random_uniform as uniform
from tahr.ops.random import uniform_candidate_sampler as uniform_candidate_sampler
