"""Symbolic differentiation: gradients are operations added to the graph."""
