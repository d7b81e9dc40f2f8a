"""Speed and memory, measured; `python -m benchmarks` prints the tables."""
