"""tahr: deep learning with graphs, readable from end to end."""

__version__ = "0.1.0"
