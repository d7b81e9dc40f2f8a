"""The workloads as TensorFlow 1 programs.

Each function takes `tf`, which is tahr or tensorflow.compat.v1: one program runs on both. It builds a graph, opens a
session and returns a step, which runs it once.
"""

from benchmarks.workloads import dense, elementwise, images, sequences

PROGRAMS = {
    "perceptron": dense.perceptron,
    "xor": dense.xor,
    "mlp": dense.mlp,
    "mlp_inference": dense.mlp_inference,
    "cnn": images.cnn,
    "cnn_inference": images.cnn_inference,
    "resnet": images.resnet,
    "lstm": sequences.lstm,
    "gpt": sequences.gpt,
    "elementwise": elementwise.elementwise,
    "rosenbrock": elementwise.rosenbrock,
    "empty": elementwise.empty,
}
