"""tf.test: testing."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.autodiff.gradient_checker import compute_gradient as compute_gradient
from tahr.autodiff.gradient_checker import compute_gradient_error as compute_gradient_error
from tahr.session.testing import get_temp_dir as get_temp_dir
from tahr.session.testing import gpu_device_name as gpu_device_name
from tahr.session.testing import is_built_with_cuda as is_built_with_cuda
from tahr.session.testing import is_gpu_available as is_gpu_available
from tahr.session.testing import main as main
from tahr.session.testing import TestCase as TestCase

_boundary.enclose(globals(), __name__)
