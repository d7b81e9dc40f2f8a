"""tf.random: random values."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops import random as _random
from tahr.core.scopes import set_random_seed as set_random_seed
from tahr.ops.random import categorical as categorical
from tahr.ops.seeds import get_seed as get_seed
from tahr.ops.candidate_sampling import log_uniform_candidate_sampler as log_uniform_candidate_sampler
from tahr.ops.random import multinomial as multinomial
from tahr.ops.random import truncated_normal as truncated_normal
from tahr.ops.candidate_sampling import uniform_candidate_sampler as uniform_candidate_sampler

# names that differ from those of tahr's own
gamma = _random.random_gamma
normal = _random.random_normal
poisson = _random.random_poisson
shuffle = _random.random_shuffle
uniform = _random.random_uniform

_boundary.enclose(globals(), __name__)
