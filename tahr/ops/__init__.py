"""The operations: each one block of definition, shape rule, kernel or expansion, gradient, public function.

A file imports only from those before it: shaping, structural, joining, elementwise, indexing, reductions, ...
"""
