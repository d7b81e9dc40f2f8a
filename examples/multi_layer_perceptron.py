"""A perceptron with a hidden layer learns exclusive or, which no single line can separate.

    python examples/multi_layer_perceptron.py --out regions.png

The points lie in four clouds; those of opposite corners belong together. The picture shows, for each place in the
plane, the probability that the network gives to blue.
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.figure import Figure

import tahr as tf

parser = argparse.ArgumentParser(description="Trains a multi-layer perceptron on exclusive or.")
parser.add_argument("--out", default="regions.png", help="the picture to write (default: regions.png)")
parser.add_argument("--hidden", type=int, default=8, help="units of the hidden layer (default: 8)")
options = parser.parse_args()

# Four clouds. A point is blue where its coordinates have different signs: exclusive or.
rng = np.random.default_rng(1)
corners = np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]])
points = np.concatenate([rng.normal(corner, 0.4, size=(50, 2)) for corner in corners])
is_blue = np.repeat([0, 0, 1, 1], 50)
classes = np.eye(2)[is_blue]

x = tf.placeholder()  # [points, 2]
c = tf.placeholder()  # [points, 2]

# Each hidden unit is a perceptron of its own: it draws one line. The output layer combines their sides. Without the
# sigmoid in between, two linear maps would be one linear map, and one line is not enough here.
hidden_weights = tf.Variable(rng.normal(size=(2, options.hidden)))
hidden_bias = tf.Variable(np.zeros(options.hidden))
output_weights = tf.Variable(rng.normal(size=(options.hidden, 2)))
output_bias = tf.Variable(np.zeros(2))

hidden = tf.sigmoid(tf.matmul(x, hidden_weights) + hidden_bias)
probabilities = tf.softmax(tf.matmul(hidden, output_weights) + output_bias)
loss = -tf.reduce_sum(c * tf.log(probabilities))
step = tf.train.GradientDescentOptimizer(learning_rate=0.03).minimize(loss)

# What to draw: the probability of blue on a grid that covers the plane.
ticks = np.linspace(-2.5, 2.5, 120)
grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)

feed = {x: points, c: classes}
with tf.Session() as session:
    for number in range(1000):
        if number % 100 == 0:
            print(f"step {number:4}   loss {session.run(loss, feed):8.3f}")
        session.run(step, feed)
    found = session.run(probabilities, {x: points}).argmax(axis=1)
    regions = session.run(probabilities, {x: grid.reshape(-1, 2)})[:, 1].reshape(grid.shape[:2])
print(f"right: {np.sum(found == is_blue)} of {len(points)} points")

figure = Figure(figsize=(5.6, 5), layout="constrained")
axes = figure.subplots()
shading = axes.contourf(ticks, ticks, regions, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
axes.contour(ticks, ticks, regions, levels=[0.5], colors="black")
figure.colorbar(shading, label="probability of blue")
axes.scatter(*points[is_blue == 0].T, color="tab:red", s=12)
axes.scatter(*points[is_blue == 1].T, color="tab:blue", s=12)
axes.set(title="Decision regions for exclusive or", xlabel="x1", ylabel="x2")
figure.savefig(options.out, dpi=110)
print(f"wrote {options.out}")
