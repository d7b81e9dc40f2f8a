"""From a graph to a Program: what one run needs, pruned, nameless, with equal computations merged, and rewritten."""
