"""Names of `tf` itself: sessions, which load all that runs graphs, and their settings."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.session.session import InteractiveSession as InteractiveSession
from tahr.session.session import Session as Session
from tahr.session.config import ConfigProto as ConfigProto
from tahr.session.config import disable_eager_execution as disable_eager_execution
from tahr.session.config import disable_v2_behavior as disable_v2_behavior
from tahr.session.config import executing_eagerly as executing_eagerly
from tahr.session.config import GPUOptions as GPUOptions
from tahr.session.config import GraphOptions as GraphOptions
from tahr.session.config import OptimizerOptions as OptimizerOptions
from tahr.session.config import RunMetadata as RunMetadata
from tahr.session.config import RunOptions as RunOptions

_boundary.enclose(globals(), __name__)
