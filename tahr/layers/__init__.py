"""Layers: objects that own variables and build the same computation each time they are called."""
