"""What a graph is made of: dtypes, shapes, op definitions, operations and tensors, the default graph."""
