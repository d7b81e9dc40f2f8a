"""tf.train: training."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.training.optimizer import Optimizer as Optimizer
from tahr.training.optimizers import AdadeltaOptimizer as AdadeltaOptimizer
from tahr.training.optimizers import AdagradDAOptimizer as AdagradDAOptimizer
from tahr.training.optimizers import AdagradOptimizer as AdagradOptimizer
from tahr.training.optimizers import AdamOptimizer as AdamOptimizer
from tahr.training.optimizers import FtrlOptimizer as FtrlOptimizer
from tahr.training.optimizers import GradientDescentOptimizer as GradientDescentOptimizer
from tahr.training.optimizers import MomentumOptimizer as MomentumOptimizer
from tahr.training.optimizers import ProximalAdagradOptimizer as ProximalAdagradOptimizer
from tahr.training.optimizers import ProximalGradientDescentOptimizer as ProximalGradientDescentOptimizer
from tahr.training.optimizers import RMSPropOptimizer as RMSPropOptimizer
from tahr.training.training_util import assert_global_step as assert_global_step
from tahr.training.training_util import create_global_step as create_global_step
from tahr.training.training_util import get_global_step as get_global_step
from tahr.training.training_util import get_or_create_global_step as get_or_create_global_step
from tahr.training.training_util import global_step as global_step
from tahr.training.learning_rate_decay import cosine_decay as cosine_decay
from tahr.training.learning_rate_decay import cosine_decay_restarts as cosine_decay_restarts
from tahr.training.learning_rate_decay import exponential_decay as exponential_decay
from tahr.training.learning_rate_decay import inverse_time_decay as inverse_time_decay
from tahr.training.learning_rate_decay import linear_cosine_decay as linear_cosine_decay
from tahr.training.learning_rate_decay import natural_exp_decay as natural_exp_decay
from tahr.training.learning_rate_decay import noisy_linear_cosine_decay as noisy_linear_cosine_decay
from tahr.training.learning_rate_decay import piecewise_constant as piecewise_constant
from tahr.training.learning_rate_decay import piecewise_constant_decay as piecewise_constant_decay
from tahr.training.learning_rate_decay import polynomial_decay as polynomial_decay
from tahr.training.moving_averages import ExponentialMovingAverage as ExponentialMovingAverage
from tahr.training.coordinator import Coordinator as Coordinator
from tahr.training.coordinator import LooperThread as LooperThread
from tahr.training.queue_runner import add_queue_runner as add_queue_runner
from tahr.training.queue_runner import QueueRunner as QueueRunner
from tahr.training.queue_runner import start_queue_runners as start_queue_runners

_boundary.enclose(globals(), __name__)
