"""What runs plans. `numpy` is the reference: the executable meaning of every op."""
