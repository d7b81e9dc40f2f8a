"""TensorFlow's compat.v1: the same programs as tahr's."""

from __future__ import annotations

import os
from functools import partial

# Read when TensorFlow is imported: silence, and the Keras that still has the recurrent cells of TensorFlow 1.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf

from benchmarks.workloads import PROGRAMS

tf.disable_eager_execution()

VERSION = tf.__version__
BUILDERS = {kind: partial(program, tf) for kind, program in PROGRAMS.items()}
