"""A perceptron that learns to tell two clouds of points apart, and draws the line between them.

    python examples/perceptron.py --out perceptron.png

A perceptron gives each point a score for each class, softmax turns the scores into probabilities, and gradient descent
turns the line until the probabilities of the right classes are as high as they get.
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.figure import Figure

import tahr as tf

parser = argparse.ArgumentParser(description="Trains a perceptron on two clouds of points.")
parser.add_argument("--out", default="perceptron.png", help="the picture to write (default: perceptron.png)")
options = parser.parse_args()

# The data: 50 red points around (-2, -2), 50 blue ones around (2, 2), and for each point its class as a row of a
# one-hot matrix: [1, 0] for red, [0, 1] for blue.
rng = np.random.default_rng(11)
red = rng.normal(-2, 1, size=(50, 2))
blue = rng.normal(2, 1, size=(50, 2))
points = np.concatenate([red, blue])
classes = [[1, 0]] * len(red) + [[0, 1]] * len(blue)

# The graph. Nothing is computed here: each line adds operations that a session will run.
x = tf.placeholder()  # [points, 2]; what is fed decides its dtype and shape
c = tf.placeholder()  # [points, 2]
weights = tf.Variable(rng.normal(size=(2, 2)))
bias = tf.Variable(np.zeros(2))

probabilities = tf.softmax(tf.matmul(x, weights) + bias)
# Cross-entropy: for each point minus the logarithm of the probability of its own class. Being sure and wrong is
# expensive.
loss = -tf.reduce_sum(c * tf.log(probabilities))

# One step of gradient descent: the gradients of the loss are added to the graph, then a small step against them.
step = tf.train.GradientDescentOptimizer(learning_rate=0.01).minimize(loss)

feed = {x: points, c: classes}
with tf.Session() as session:
    for number in range(100):
        if number % 10 == 0:
            print(f"step {number:3}   loss {session.run(loss, feed):8.3f}")
        session.run(step, feed)
    w, b = session.run([weights, bias])

# The line is where both classes are equally likely, that is, where both scores are the same:
#   x w[:, 0] + b[0] = x w[:, 1] + b[1]
(a1, a2), shift = w[:, 1] - w[:, 0], b[1] - b[0]
print(f"the line: {a1:.2f} x1 + {a2:.2f} x2 + {shift:.2f} = 0")

figure = Figure(figsize=(5, 5), layout="constrained")
axes = figure.subplots()
axes.scatter(*red.T, color="tab:red", label="red")
axes.scatter(*blue.T, color="tab:blue", label="blue")
# From a point of the line along its direction: this draws vertical lines, too.
normal = np.array([a1, a2])
axes.axline(
    -shift * normal / (normal @ normal), -shift * normal / (normal @ normal) + [-a2, a1], color="black"
)
axes.set(title="Where both classes are equally likely", xlabel="x1", ylabel="x2", xlim=(-5, 5), ylim=(-5, 5))
axes.legend(loc="upper left")
figure.savefig(options.out, dpi=110)
print(f"wrote {options.out}")
