"""tf.nn: neural networks."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.api import rnn_cell as rnn_cell
from tahr.ops import convolution as _convolution
from tahr.ops.blocks import depth_to_space as depth_to_space
from tahr.ops.blocks import space_to_batch as space_to_batch
from tahr.ops.blocks import space_to_depth as space_to_depth
from tahr.ops.special import sigmoid as sigmoid
from tahr.ops.special import tanh as tanh
from tahr.ops.embeddings import embedding_lookup as embedding_lookup
from tahr.ops.sorting import in_top_k as in_top_k
from tahr.ops.sorting import top_k as top_k
from tahr.ops.candidate_sampling import log_uniform_candidate_sampler as log_uniform_candidate_sampler
from tahr.ops.candidate_sampling import uniform_candidate_sampler as uniform_candidate_sampler
from tahr.ops.candidate_sampling import compute_accidental_hits as compute_accidental_hits
from tahr.ops.candidate_sampling import nce_loss as nce_loss
from tahr.ops.candidate_sampling import sampled_softmax_loss as sampled_softmax_loss
from tahr.ops.activations import crelu as crelu
from tahr.ops.activations import elu as elu
from tahr.ops.activations import leaky_relu as leaky_relu
from tahr.ops.activations import relu as relu
from tahr.ops.activations import relu6 as relu6
from tahr.ops.activations import selu as selu
from tahr.ops.activations import softplus as softplus
from tahr.ops.activations import softsign as softsign
from tahr.ops.activations import swish as swish
from tahr.ops.softmax import log_softmax as log_softmax
from tahr.ops.softmax import softmax as softmax
from tahr.ops.softmax import softmax_cross_entropy_with_logits as softmax_cross_entropy_with_logits
from tahr.ops.softmax import softmax_cross_entropy_with_logits_v2 as softmax_cross_entropy_with_logits_v2
from tahr.ops.softmax import (
    sparse_softmax_cross_entropy_with_logits as sparse_softmax_cross_entropy_with_logits,
)
from tahr.ops.channels import bias_add as bias_add
from tahr.ops.normalization import l2_normalize as l2_normalize
from tahr.ops.normalization import local_response_normalization as local_response_normalization
from tahr.ops.normalization import lrn as lrn
from tahr.ops.normalization import moments as moments
from tahr.ops.normalization import normalize_moments as normalize_moments
from tahr.ops.normalization import sufficient_statistics as sufficient_statistics
from tahr.ops.normalization import weighted_moments as weighted_moments
from tahr.ops.batch_norm import batch_norm_with_global_normalization as batch_norm_with_global_normalization
from tahr.ops.batch_norm import batch_normalization as batch_normalization
from tahr.ops.batch_norm import fused_batch_norm as fused_batch_norm
from tahr.ops.nn import dropout as dropout
from tahr.ops.nn import l2_loss as l2_loss
from tahr.ops.nn import log_poisson_loss as log_poisson_loss
from tahr.ops.nn import relu_layer as relu_layer
from tahr.ops.nn import sigmoid_cross_entropy_with_logits as sigmoid_cross_entropy_with_logits
from tahr.ops.nn import weighted_cross_entropy_with_logits as weighted_cross_entropy_with_logits
from tahr.ops.nn import xw_plus_b as xw_plus_b
from tahr.ops.nn import zero_fraction as zero_fraction
from tahr.ops.convolution import conv2d as conv2d
from tahr.ops.convolution import conv2d_backprop_filter as conv2d_backprop_filter
from tahr.ops.convolution import conv2d_backprop_input as conv2d_backprop_input
from tahr.ops.convolution import conv2d_transpose as conv2d_transpose
from tahr.ops.convolution import conv3d as conv3d
from tahr.ops.convolution import conv3d_backprop_filter_v2 as conv3d_backprop_filter_v2
from tahr.ops.convolution import conv3d_transpose as conv3d_transpose
from tahr.ops.convolution import depthwise_conv2d_native as depthwise_conv2d_native
from tahr.ops.convolution import (
    depthwise_conv2d_native_backprop_filter as depthwise_conv2d_native_backprop_filter,
)
from tahr.ops.convolution import (
    depthwise_conv2d_native_backprop_input as depthwise_conv2d_native_backprop_input,
)
from tahr.ops.convolution_nd import atrous_conv2d as atrous_conv2d
from tahr.ops.convolution_nd import atrous_conv2d_transpose as atrous_conv2d_transpose
from tahr.ops.convolution_nd import conv1d as conv1d
from tahr.ops.convolution_nd import conv1d_transpose as conv1d_transpose
from tahr.ops.convolution_nd import conv_transpose as conv_transpose
from tahr.ops.convolution_nd import convolution as convolution
from tahr.ops.convolution_nd import depthwise_conv2d as depthwise_conv2d
from tahr.ops.convolution_nd import separable_conv2d as separable_conv2d
from tahr.ops.pooling import avg_pool as avg_pool
from tahr.ops.pooling import avg_pool1d as avg_pool1d
from tahr.ops.pooling import avg_pool2d as avg_pool2d
from tahr.ops.pooling import avg_pool3d as avg_pool3d
from tahr.ops.pooling import avg_pool_v2 as avg_pool_v2
from tahr.ops.pooling import max_pool as max_pool
from tahr.ops.pooling import max_pool1d as max_pool1d
from tahr.ops.pooling import max_pool2d as max_pool2d
from tahr.ops.pooling import max_pool3d as max_pool3d
from tahr.ops.pooling import max_pool_v2 as max_pool_v2
from tahr.ops.pooling import max_pool_with_argmax as max_pool_with_argmax
from tahr.ops.pooling import pool as pool
from tahr.ops.morphology import dilation2d as dilation2d
from tahr.ops.morphology import erosion2d as erosion2d
from tahr.layers.rnn import bidirectional_dynamic_rnn as bidirectional_dynamic_rnn
from tahr.layers.rnn import dynamic_rnn as dynamic_rnn
from tahr.layers.rnn import raw_rnn as raw_rnn
from tahr.layers.rnn import static_bidirectional_rnn as static_bidirectional_rnn
from tahr.layers.rnn import static_rnn as static_rnn

# names that differ from those of tahr's own
depthwise_conv2d_backprop_filter = _convolution.depthwise_conv2d_native_backprop_filter
depthwise_conv2d_backprop_input = _convolution.depthwise_conv2d_native_backprop_input

_boundary.enclose(globals(), __name__)
