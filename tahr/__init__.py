"""tahr: deep learning with graphs, readable from end to end.

This file is the `tf` of `import tahr as tf`: one line for each name at its top level. The names of its parts,
such as `tf.nn.relu`, are listed likewise in `tahr/api`.
"""

# ruff: noqa: I001  # one line a name, in the order of the layers

import typing as _typing

from tahr.core import boundary as _boundary
from tahr.core import late as _late

if _typing.TYPE_CHECKING:  # loaded when they are first used: see the end
    # parts
    from tahr.api import bitwise as bitwise
    from tahr.api import debug as debug
    from tahr.api import debugging as debugging
    from tahr.api import dtypes as dtypes
    from tahr.api import initializers as initializers
    from tahr.api import linalg as linalg
    from tahr.api import losses as losses
    from tahr.api import manip as manip
    from tahr.api import math as math
    from tahr.api import nn as nn
    from tahr.api import queue as queue
    from tahr.api import random as random
    from tahr.api import test as test
    from tahr.api import train as train

    # sessions and their settings
    from tahr.api.session import ConfigProto as ConfigProto
    from tahr.api.session import disable_eager_execution as disable_eager_execution
    from tahr.api.session import disable_v2_behavior as disable_v2_behavior
    from tahr.api.session import executing_eagerly as executing_eagerly
    from tahr.api.session import GPUOptions as GPUOptions
    from tahr.api.session import GraphOptions as GraphOptions
    from tahr.api.session import InteractiveSession as InteractiveSession
    from tahr.api.session import OptimizerOptions as OptimizerOptions
    from tahr.api.session import RunMetadata as RunMetadata
    from tahr.api.session import RunOptions as RunOptions
    from tahr.api.session import Session as Session

# errors
from tahr import errors as errors
from tahr.errors import OpError as OpError

# types
from tahr.core.dtypes import as_dtype as as_dtype
from tahr.core.dtypes import bfloat16 as bfloat16
from tahr.core.dtypes import complex128 as complex128
from tahr.core.dtypes import complex64 as complex64
from tahr.core.dtypes import double as double
from tahr.core.dtypes import DType as DType
from tahr.core.dtypes import float16 as float16
from tahr.core.dtypes import float32 as float32
from tahr.core.dtypes import float64 as float64
from tahr.core.dtypes import half as half
from tahr.core.dtypes import int16 as int16
from tahr.core.dtypes import int32 as int32
from tahr.core.dtypes import int64 as int64
from tahr.core.dtypes import int8 as int8
from tahr.core.dtypes import resource as resource
from tahr.core.dtypes import string as string
from tahr.core.dtypes import uint16 as uint16
from tahr.core.dtypes import uint32 as uint32
from tahr.core.dtypes import uint64 as uint64
from tahr.core.dtypes import uint8 as uint8
from tahr.core.dtypes import variant as variant

# shapes
from tahr.core.tensor_shapes import Dimension as Dimension
from tahr.core.tensor_shapes import dimension_value as dimension_value
from tahr.core.tensor_shapes import TensorShape as TensorShape

# graphs
from tahr.core.graph import Graph as Graph
from tahr.core.graph import Operation as Operation
from tahr.core.graph import Tensor as Tensor

# scopes and collections
from tahr.core.scopes import add_to_collection as add_to_collection
from tahr.core.scopes import add_to_collections as add_to_collections
from tahr.core.scopes import colocate_with as colocate_with
from tahr.core.scopes import container as container
from tahr.core.scopes import control_dependencies as control_dependencies
from tahr.core.scopes import device as device
from tahr.core.scopes import get_collection as get_collection
from tahr.core.scopes import get_collection_ref as get_collection_ref
from tahr.core.scopes import get_default_graph as get_default_graph
from tahr.core.scopes import GraphKeys as GraphKeys
from tahr.core.scopes import init_scope as init_scope
from tahr.core.scopes import name_scope as name_scope
from tahr.core.scopes import reset_default_graph as reset_default_graph
from tahr.core.scopes import set_random_seed as set_random_seed

# constants and conversion
from tahr.core.convert import constant as constant
from tahr.core.convert import convert_to_tensor as convert_to_tensor
from tahr.core.convert import IndexedSlices as IndexedSlices
from tahr.core.convert import register_tensor_conversion_function as register_tensor_conversion_function

# shapes of tensors
from tahr.ops.identities import ensure_shape as ensure_shape
from tahr.ops.shaping import expand_dims as expand_dims
from tahr.ops.identities import guarantee_const as guarantee_const
from tahr.ops.identities import identity as identity
from tahr.ops.identities import identity_n as identity_n
from tahr.ops.transposing import invert_permutation as invert_permutation
from tahr.ops.transposing import matrix_transpose as matrix_transpose
from tahr.ops.shaping import rank as rank
from tahr.ops.shaping import reshape as reshape
from tahr.ops.transposing import reverse as reverse
from tahr.ops.shaping import shape as shape
from tahr.ops.shaping import shape_n as shape_n
from tahr.ops.shaping import size as size
from tahr.ops.shaping import squeeze as squeeze
from tahr.ops.identities import stop_gradient as stop_gradient
from tahr.ops.transposing import transpose as transpose

# making, broadcasting and summing
from tahr.ops.structural import add_n as add_n
from tahr.ops.structural import broadcast_dynamic_shape as broadcast_dynamic_shape
from tahr.ops.structural import broadcast_static_shape as broadcast_static_shape
from tahr.ops.structural import broadcast_to as broadcast_to
from tahr.ops.fills import fill as fill
from tahr.ops.fills import linspace as linspace
from tahr.ops.fills import ones as ones
from tahr.ops.fills import ones_like as ones_like
from tahr.ops.placeholders import placeholder as placeholder
from tahr.ops.placeholders import placeholder_with_default as placeholder_with_default
from tahr.ops.structural import reduce_sum as reduce_sum
from tahr.ops.fills import zeros as zeros
from tahr.ops.fills import zeros_like as zeros_like

# joining and splitting
from tahr.ops.joining import concat as concat
from tahr.ops.joining import pack as pack
from tahr.ops.cropping import pad as pad
from tahr.ops.joining import parallel_stack as parallel_stack
from tahr.ops.joining import split as split
from tahr.ops.joining import stack as stack
from tahr.ops.cropping import tile as tile
from tahr.ops.joining import unpack as unpack
from tahr.ops.joining import unstack as unstack

# blocks
from tahr.ops.blocks import batch_to_space as batch_to_space
from tahr.ops.blocks import batch_to_space_nd as batch_to_space_nd
from tahr.ops.blocks import depth_to_space as depth_to_space
from tahr.ops.blocks import meshgrid as meshgrid
from tahr.ops.blocks import space_to_batch as space_to_batch
from tahr.ops.blocks import space_to_batch_nd as space_to_batch_nd
from tahr.ops.blocks import space_to_depth as space_to_depth

# comparison and logic
from tahr.ops.logic import equal as equal
from tahr.ops.logic import greater as greater
from tahr.ops.logic import greater_equal as greater_equal
from tahr.ops.logic import is_finite as is_finite
from tahr.ops.logic import is_inf as is_inf
from tahr.ops.logic import is_nan as is_nan
from tahr.ops.logic import less as less
from tahr.ops.logic import less_equal as less_equal
from tahr.ops.logic import logical_and as logical_and
from tahr.ops.logic import logical_not as logical_not
from tahr.ops.logic import logical_or as logical_or
from tahr.ops.logic import logical_xor as logical_xor
from tahr.ops.logic import not_equal as not_equal

# casts and complex numbers
from tahr.ops.casts import angle as angle
from tahr.ops.casts import bitcast as bitcast
from tahr.ops.casts import cast as cast
from tahr.ops.casts import complex as complex
from tahr.ops.casts import conj as conj
from tahr.ops.casts import imag as imag
from tahr.ops.casts import real as real
from tahr.ops.casts import to_bfloat16 as to_bfloat16
from tahr.ops.casts import to_complex128 as to_complex128
from tahr.ops.casts import to_complex64 as to_complex64
from tahr.ops.casts import to_double as to_double
from tahr.ops.casts import to_float as to_float
from tahr.ops.casts import to_int32 as to_int32
from tahr.ops.casts import to_int64 as to_int64

# arithmetic
from tahr.ops.elementwise import abs as abs
from tahr.ops.elementwise import accumulate_n as accumulate_n
from tahr.ops.elementwise import add as add
from tahr.ops.elementwise import ceil as ceil
from tahr.ops.elementwise import clip_by_value as clip_by_value
from tahr.ops.elementwise import div as div
from tahr.ops.elementwise import div_no_nan as div_no_nan
from tahr.ops.elementwise import divide as divide
from tahr.ops.elementwise import floor as floor
from tahr.ops.elementwise import floor_div as floor_div
from tahr.ops.elementwise import floordiv as floordiv
from tahr.ops.elementwise import floormod as floormod
from tahr.ops.elementwise import maximum as maximum
from tahr.ops.elementwise import minimum as minimum
from tahr.ops.elementwise import mod as mod
from tahr.ops.elementwise import mul as mul
from tahr.ops.elementwise import multiply as multiply
from tahr.ops.elementwise import neg as neg
from tahr.ops.elementwise import negative as negative
from tahr.ops.elementwise import realdiv as realdiv
from tahr.ops.elementwise import rint as rint
from tahr.ops.elementwise import round as round
from tahr.ops.elementwise import saturate_cast as saturate_cast
from tahr.ops.elementwise import scalar_mul as scalar_mul
from tahr.ops.elementwise import sign as sign
from tahr.ops.elementwise import sub as sub
from tahr.ops.elementwise import subtract as subtract
from tahr.ops.elementwise import truediv as truediv
from tahr.ops.elementwise import truncatediv as truncatediv
from tahr.ops.elementwise import truncatemod as truncatemod

# functions
from tahr.ops.special import acos as acos
from tahr.ops.special import acosh as acosh
from tahr.ops.special import asin as asin
from tahr.ops.special import asinh as asinh
from tahr.ops.special import atan as atan
from tahr.ops.special import atan2 as atan2
from tahr.ops.special import atanh as atanh
from tahr.ops.special import betainc as betainc
from tahr.ops.special import cos as cos
from tahr.ops.special import cosh as cosh
from tahr.ops.special import digamma as digamma
from tahr.ops.special import erf as erf
from tahr.ops.special import erfc as erfc
from tahr.ops.special import exp as exp
from tahr.ops.special import expm1 as expm1
from tahr.ops.special import igamma as igamma
from tahr.ops.special import igammac as igammac
from tahr.ops.special import inv as inv
from tahr.ops.special import lgamma as lgamma
from tahr.ops.special import log as log
from tahr.ops.special import log1p as log1p
from tahr.ops.special import polygamma as polygamma
from tahr.ops.special import pow as pow
from tahr.ops.special import reciprocal as reciprocal
from tahr.ops.special import rsqrt as rsqrt
from tahr.ops.special import sigmoid as sigmoid
from tahr.ops.special import sin as sin
from tahr.ops.special import sinh as sinh
from tahr.ops.special import sqrt as sqrt
from tahr.ops.special import square as square
from tahr.ops.special import squared_difference as squared_difference
from tahr.ops.special import tan as tan
from tahr.ops.special import tanh as tanh
from tahr.ops.special import zeta as zeta

# slicing
from tahr.ops.slicing import strided_slice as strided_slice

# indexing
from tahr.ops.indexing import batch_gather as batch_gather
from tahr.ops.indexing import boolean_mask as boolean_mask
from tahr.ops.indexing import gather as gather
from tahr.ops.indexing import gather_nd as gather_nd
from tahr.ops.indexing import newaxis as newaxis
from tahr.ops.indexing import scatter_nd as scatter_nd
from tahr.ops.indexing import unsorted_segment_sum as unsorted_segment_sum
from tahr.ops.indexing import where as where

# reductions
from tahr.ops.reductions import arg_max as arg_max
from tahr.ops.reductions import arg_min as arg_min
from tahr.ops.reductions import argmax as argmax
from tahr.ops.reductions import argmin as argmin
from tahr.ops.counting import bincount as bincount
from tahr.ops.counting import confusion_matrix as confusion_matrix
from tahr.ops.reductions import count_nonzero as count_nonzero
from tahr.ops.scans import cumprod as cumprod
from tahr.ops.scans import cumsum as cumsum
from tahr.ops.counting import histogram_fixed_width as histogram_fixed_width
from tahr.ops.reductions import reduce_all as reduce_all
from tahr.ops.reductions import reduce_any as reduce_any
from tahr.ops.reductions import reduce_logsumexp as reduce_logsumexp
from tahr.ops.reductions import reduce_max as reduce_max
from tahr.ops.reductions import reduce_mean as reduce_mean
from tahr.ops.reductions import reduce_min as reduce_min
from tahr.ops.reductions import reduce_prod as reduce_prod

# scattering, partitions, sequences
from tahr.ops.partitioning import dynamic_partition as dynamic_partition
from tahr.ops.partitioning import dynamic_stitch as dynamic_stitch
from tahr.ops.scattering import one_hot as one_hot
from tahr.ops.sequences import reverse_sequence as reverse_sequence
from tahr.ops.sequences import sequence_mask as sequence_mask
from tahr.ops.scattering import sparse_to_dense as sparse_to_dense
from tahr.ops.scattering import tensor_scatter_add as tensor_scatter_add
from tahr.ops.scattering import tensor_scatter_sub as tensor_scatter_sub
from tahr.ops.scattering import tensor_scatter_update as tensor_scatter_update

# linear algebra
from tahr.ops.linalg import cross as cross
from tahr.ops.linalg import diag as diag
from tahr.ops.linalg import diag_part as diag_part
from tahr.ops.contractions import einsum as einsum
from tahr.ops.linalg import eye as eye
from tahr.ops.linalg import matmul as matmul
from tahr.ops.linalg import matrix_band_part as matrix_band_part
from tahr.ops.diagonals import matrix_diag as matrix_diag
from tahr.ops.diagonals import matrix_diag_part as matrix_diag_part
from tahr.ops.diagonals import matrix_set_diag as matrix_set_diag
from tahr.ops.contractions import tensordot as tensordot
from tahr.ops.linalg import trace as trace

# linear systems, decompositions and norms
from tahr.ops.linear_systems import cholesky as cholesky
from tahr.ops.linear_systems import cholesky_solve as cholesky_solve
from tahr.ops.linear_systems import matrix_determinant as matrix_determinant
from tahr.ops.linear_systems import matrix_inverse as matrix_inverse
from tahr.ops.linear_systems import matrix_solve as matrix_solve
from tahr.ops.linear_systems import matrix_solve_ls as matrix_solve_ls
from tahr.ops.linear_systems import matrix_triangular_solve as matrix_triangular_solve
from tahr.ops.matrix_functions import matrix_square_root as matrix_square_root
from tahr.ops.norms import norm as norm
from tahr.ops.decompositions import qr as qr
from tahr.ops.decompositions import self_adjoint_eig as self_adjoint_eig
from tahr.ops.decompositions import self_adjoint_eigvals as self_adjoint_eigvals
from tahr.ops.decompositions import svd as svd

# rearranging
from tahr.ops.rearranging import repeat as repeat
from tahr.ops.rearranging import roll as roll
from tahr.ops.rearranging import unravel_index as unravel_index

# sorting and searching
from tahr.ops.sorting import argsort as argsort
from tahr.ops.sorting import searchsorted as searchsorted
from tahr.ops.sorting import setdiff1d as setdiff1d
from tahr.ops.sorting import sort as sort
from tahr.ops.sorting import unique as unique
from tahr.ops.sorting import unique_with_counts as unique_with_counts

# segments
from tahr.ops.segments import segment_max as segment_max
from tahr.ops.segments import segment_mean as segment_mean
from tahr.ops.segments import segment_min as segment_min
from tahr.ops.segments import segment_prod as segment_prod
from tahr.ops.segments import segment_sum as segment_sum
from tahr.ops.segments import sparse_segment_mean as sparse_segment_mean
from tahr.ops.segments import sparse_segment_sqrt_n as sparse_segment_sqrt_n
from tahr.ops.segments import sparse_segment_sum as sparse_segment_sum
from tahr.ops.segments import unsorted_segment_max as unsorted_segment_max
from tahr.ops.segments import unsorted_segment_mean as unsorted_segment_mean
from tahr.ops.segments import unsorted_segment_min as unsorted_segment_min
from tahr.ops.segments import unsorted_segment_prod as unsorted_segment_prod
from tahr.ops.segments import unsorted_segment_sqrt_n as unsorted_segment_sqrt_n

# random values
from tahr.ops.seeds import get_seed as get_seed
from tahr.ops.random import multinomial as multinomial
from tahr.ops.random import random_crop as random_crop
from tahr.ops.random import random_gamma as random_gamma
from tahr.ops.random import random_normal as random_normal
from tahr.ops.random import random_poisson as random_poisson
from tahr.ops.random import random_shuffle as random_shuffle
from tahr.ops.random import random_uniform as random_uniform
from tahr.ops.random import truncated_normal as truncated_normal

# initializers
from tahr.ops.initializers import constant_initializer as constant_initializer
from tahr.ops.initializers import glorot_normal_initializer as glorot_normal_initializer
from tahr.ops.initializers import glorot_uniform_initializer as glorot_uniform_initializer
from tahr.ops.initializers import ones_initializer as ones_initializer
from tahr.ops.initializers import orthogonal_initializer as orthogonal_initializer
from tahr.ops.initializers import random_normal_initializer as random_normal_initializer
from tahr.ops.initializers import random_uniform_initializer as random_uniform_initializer
from tahr.ops.initializers import truncated_normal_initializer as truncated_normal_initializer
from tahr.ops.initializers import uniform_unit_scaling_initializer as uniform_unit_scaling_initializer
from tahr.ops.initializers import variance_scaling_initializer as variance_scaling_initializer
from tahr.ops.initializers import zeros_initializer as zeros_initializer
from tahr.ops.activations import log_sigmoid as log_sigmoid

# softmax
from tahr.ops.softmax import softmax as softmax

# clipping
from tahr.ops.clip import clip_by_average_norm as clip_by_average_norm
from tahr.ops.clip import clip_by_global_norm as clip_by_global_norm
from tahr.ops.clip import clip_by_norm as clip_by_norm
from tahr.ops.clip import global_norm as global_norm

# control flow
from tahr.ops.control_flow import cond as cond
from tahr.ops.control_flow import group as group
from tahr.ops.control_flow import no_op as no_op
from tahr.ops.control_flow import while_loop as while_loop

# tensor arrays
from tahr.ops.tensor_array import TensorArray as TensorArray

# higher-order functions
from tahr.ops.functional import case as case
from tahr.ops.functional import foldl as foldl
from tahr.ops.functional import foldr as foldr
from tahr.ops.functional import map_fn as map_fn
from tahr.ops.functional import scan as scan
from tahr.ops.functional import switch_case as switch_case

# Python inside a graph
from tahr.ops.host import numpy_function as numpy_function
from tahr.ops.host import py_func as py_func

# queues
from tahr.ops.queues import FIFOQueue as FIFOQueue
from tahr.ops.queues import PaddingFIFOQueue as PaddingFIFOQueue
from tahr.ops.queues import PriorityQueue as PriorityQueue
from tahr.ops.queues import QueueBase as QueueBase
from tahr.ops.queues import RandomShuffleQueue as RandomShuffleQueue

# strings
from tahr.ops.strings import as_string as as_string
from tahr.ops.strings import string_join as string_join

# assertions and printing
from tahr.ops.assertions import add_check_numerics_ops as add_check_numerics_ops
from tahr.ops.assertions import assert_equal as assert_equal
from tahr.ops.assertions import assert_greater as assert_greater
from tahr.ops.assertions import assert_greater_equal as assert_greater_equal
from tahr.ops.assertions import assert_integer as assert_integer
from tahr.ops.assertions import assert_less as assert_less
from tahr.ops.assertions import assert_less_equal as assert_less_equal
from tahr.ops.assertions import assert_near as assert_near
from tahr.ops.assertions import assert_negative as assert_negative
from tahr.ops.assertions import assert_non_negative as assert_non_negative
from tahr.ops.assertions import assert_non_positive as assert_non_positive
from tahr.ops.assertions import assert_none_equal as assert_none_equal
from tahr.ops.assertions import assert_positive as assert_positive
from tahr.ops.assertions import assert_proper_iterable as assert_proper_iterable
from tahr.ops.assertions import assert_rank as assert_rank
from tahr.ops.assertions import assert_rank_at_least as assert_rank_at_least
from tahr.ops.assertions import assert_rank_in as assert_rank_in
from tahr.ops.assertions import assert_scalar as assert_scalar
from tahr.ops.assertions import assert_type as assert_type
from tahr.ops.assertions import check_numerics as check_numerics
from tahr.ops.assertions import is_non_decreasing as is_non_decreasing
from tahr.ops.assertions import is_numeric_tensor as is_numeric_tensor
from tahr.ops.assertions import is_strictly_increasing as is_strictly_increasing
from tahr.ops.assertions import verify_tensor_all_finite as verify_tensor_all_finite

# variables
from tahr.ops.variable_lists import all_variables as all_variables
from tahr.ops.variable_lists import assert_variables_initialized as assert_variables_initialized
from tahr.ops.assignments import assign as assign
from tahr.ops.assignments import assign_add as assign_add
from tahr.ops.assignments import assign_sub as assign_sub
from tahr.ops.assignments import count_up_to as count_up_to
from tahr.ops.variable_lists import global_variables as global_variables
from tahr.ops.variable_lists import global_variables_initializer as global_variables_initializer
from tahr.ops.variable_lists import initialize_all_variables as initialize_all_variables
from tahr.ops.variable_lists import initialize_local_variables as initialize_local_variables
from tahr.ops.variable_lists import initialize_variables as initialize_variables
from tahr.ops.assignments import is_variable_initialized as is_variable_initialized
from tahr.ops.variable_lists import local_variables as local_variables
from tahr.ops.variable_lists import local_variables_initializer as local_variables_initializer
from tahr.ops.variable_lists import model_variables as model_variables
from tahr.ops.variable_lists import moving_average_variables as moving_average_variables
from tahr.ops.variable_lists import report_uninitialized_variables as report_uninitialized_variables
from tahr.ops.assignments import scatter_add as scatter_add
from tahr.ops.assignments import scatter_div as scatter_div
from tahr.ops.assignments import scatter_max as scatter_max
from tahr.ops.assignments import scatter_min as scatter_min
from tahr.ops.assignments import scatter_mul as scatter_mul
from tahr.ops.assignments import scatter_nd_add as scatter_nd_add
from tahr.ops.assignments import scatter_nd_sub as scatter_nd_sub
from tahr.ops.assignments import scatter_nd_update as scatter_nd_update
from tahr.ops.assignments import scatter_sub as scatter_sub
from tahr.ops.assignments import scatter_update as scatter_update
from tahr.ops.variable_lists import trainable_variables as trainable_variables
from tahr.variables import Variable as Variable
from tahr.variables import VariableAggregation as VariableAggregation
from tahr.ops.variable_lists import variables_initializer as variables_initializer
from tahr.variables import VariableSynchronization as VariableSynchronization
from tahr.variable_scope.store import AUTO_REUSE as AUTO_REUSE
from tahr.variable_scope.store import no_regularizer as no_regularizer
from tahr.variable_scope.scopes import get_local_variable as get_local_variable
from tahr.variable_scope.scopes import get_variable as get_variable
from tahr.variable_scope.scopes import get_variable_scope as get_variable_scope
from tahr.variable_scope.scopes import variable_op_scope as variable_op_scope
from tahr.variable_scope.scopes import variable_scope as variable_scope
from tahr.variable_scope.scopes import VariableScope as VariableScope
from tahr.variable_scope.partitions import fixed_size_partitioner as fixed_size_partitioner
from tahr.variable_scope.partitions import min_max_variable_partitioner as min_max_variable_partitioner
from tahr.variable_scope.partitions import variable_axis_size_partitioner as variable_axis_size_partitioner
from tahr.variable_scope.templates import make_template as make_template

# gradients
from tahr.autodiff.gradients import AggregationMethod as AggregationMethod
from tahr.autodiff.gradients import gradients as gradients
from tahr.autodiff.gradients import UnconnectedGradients as UnconnectedGradients
from tahr.autodiff.registry import NoGradient as NoGradient
from tahr.autodiff.registry import NotDifferentiable as NotDifferentiable
from tahr.autodiff.registry import RegisterGradient as RegisterGradient
from tahr.autodiff.override import custom_gradient as custom_gradient
from tahr.autodiff.forward import hessians as hessians
from tahr.autodiff.forward import jvp as jvp

# the default session
from tahr.session.default import get_default_session as get_default_session

# names that Python has taken, and second names
from tahr.core import dtypes as _dtypes
from tahr.ops import transposing as _transposing
from tahr.ops import ranges as _ranges
from tahr.ops import fills as _fills
from tahr.ops import cropping as _cropping
from tahr.ops import scattering as _scattering
from tahr.ops import control_flow as _control_flow
from tahr.ops import assertions as _assertions
from tahr.ops import printing as _printing
from tahr.autodiff import registry as _registry

bool = _dtypes.bool_
range = _ranges.range_
reverse_v2 = _transposing.reverse
lin_space = _fills.linspace
slice = _cropping.slice_
tensor_scatter_nd_add = _scattering.tensor_scatter_add
tensor_scatter_nd_sub = _scattering.tensor_scatter_sub
tensor_scatter_nd_update = _scattering.tensor_scatter_update
tuple = _control_flow.tuple_
Assert = _assertions.assert_
Print = _printing.print_data
print = _printing.print_
no_gradient = _registry.NoGradient

__version__ = "0.1.0"
VERSION = __version__

# errors that leave a public function show the user's lines
_boundary.enclose(globals(), __name__)

# What not every program needs is loaded when it is first used, so that `import tahr` is quick: the parts, and what runs
# graphs. (For type checkers it is imported above.)
_late.add_names(
    __name__,
    {
        "tahr.api": "bitwise debug debugging dtypes initializers linalg losses manip math nn queue random test train",
        "tahr.api.session": "ConfigProto disable_eager_execution disable_v2_behavior executing_eagerly "
        "GPUOptions GraphOptions InteractiveSession OptimizerOptions RunMetadata RunOptions Session",
    },
)
