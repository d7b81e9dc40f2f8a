"""The native backend: plans compiled to machine code by LLVM."""
