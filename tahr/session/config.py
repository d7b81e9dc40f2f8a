"""Settings that TensorFlow's programs make: objects with TensorFlow's fields, and version 2's switches.

Nothing is read from them but `RunOptions.timeout_in_ms` and `ConfigProto.operation_timeout_in_ms`: tahr has one
kind of device. A field that TensorFlow does not have is an error, as it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True, kw_only=True)
class OptimizerOptions:
    """How TensorFlow's graph optimizer works."""

    L1: ClassVar[int] = 0
    L0: ClassVar[int] = -1
    DEFAULT: ClassVar[int] = 0
    OFF: ClassVar[int] = -1
    ON_1: ClassVar[int] = 1
    ON_2: ClassVar[int] = 2

    do_common_subexpression_elimination: bool = False
    do_constant_folding: bool = False
    max_folded_constant_in_bytes: int = 0
    do_function_inlining: bool = False
    opt_level: int = 0
    global_jit_level: int = 0


@dataclass(slots=True, kw_only=True)
class GraphOptions:
    """How TensorFlow treats a graph before it runs it."""

    enable_recv_scheduling: bool = False
    optimizer_options: OptimizerOptions = field(default_factory=OptimizerOptions)
    build_cost_model: int = 0
    build_cost_model_after: int = 0
    infer_shapes: bool = False
    place_pruned_graph: bool = False
    enable_bfloat16_sendrecv: bool = False
    timeline_step: int = 0
    rewrite_options: Any = None


@dataclass(slots=True, kw_only=True)
class GPUOptions:
    """How TensorFlow uses GPUs."""

    per_process_gpu_memory_fraction: float = 0.0
    allow_growth: bool = False
    allocator_type: str = ""
    deferred_deletion_bytes: int = 0
    visible_device_list: str = ""
    polling_active_delay_usecs: int = 0
    polling_inactive_delay_msecs: int = 0
    force_gpu_compatible: bool = False
    experimental: Any = None


@dataclass(slots=True, kw_only=True)
class ConfigProto:
    """The settings of a session.

    Args:
        device_count: how many devices of a kind to use, e.g. `{"GPU": 0}`.
        gpu_options: a GPUOptions.
        graph_options: a GraphOptions.
        allow_soft_placement, log_device_placement, ...: TensorFlow's other fields.

    Raises:
        TypeError, AttributeError: there is no such field.
    """

    device_count: dict[str, int] = field(default_factory=dict[str, int])
    intra_op_parallelism_threads: int = 0
    inter_op_parallelism_threads: int = 0
    use_per_session_threads: bool = False
    session_inter_op_thread_pool: list[Any] = field(default_factory=list[Any])
    placement_period: int = 0
    device_filters: list[str] = field(default_factory=list[str])
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    allow_soft_placement: bool = False
    log_device_placement: bool = False
    graph_options: GraphOptions = field(default_factory=GraphOptions)
    operation_timeout_in_ms: int = 0
    rpc_options: Any = None
    cluster_def: Any = None
    isolate_session_state: bool = False
    share_cluster_devices_in_session: bool = False
    experimental: Any = None


@dataclass(slots=True, kw_only=True)
class RunOptions:
    """The settings of one call of `Session.run`.

    Args:
        timeout_in_ms: how long the run may take, in milliseconds, before it is a DeadlineExceededError;
            0 is for ever.
        trace_level, ...: TensorFlow's other fields.

    Raises:
        TypeError, AttributeError: there is no such field.
    """

    NO_TRACE: ClassVar[int] = 0
    SOFTWARE_TRACE: ClassVar[int] = 1
    HARDWARE_TRACE: ClassVar[int] = 2
    FULL_TRACE: ClassVar[int] = 3

    trace_level: int = 0
    timeout_in_ms: int = 0
    inter_op_thread_pool: int = 0
    output_partition_graphs: bool = False
    debug_options: Any = None
    report_tensor_allocations_upon_oom: bool = False
    experimental: Any = None


@dataclass(slots=True, kw_only=True)
class RunMetadata:
    """What TensorFlow reports of one call of `Session.run`; tahr leaves it empty."""

    step_stats: Any = None
    cost_graph: Any = None
    partition_graphs: list[Any] = field(default_factory=list[Any])
    function_graphs: list[Any] = field(default_factory=list[Any])


def executing_eagerly() -> bool:
    """Whether operations compute at once: never, as in TensorFlow 1."""
    return False


def disable_eager_execution() -> None:
    """Accepted: operations never compute at once."""


def disable_v2_behavior() -> None:
    """Accepted: tahr behaves like TensorFlow 1."""
