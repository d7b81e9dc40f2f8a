"""What runs the workloads in a worker process, one module a framework.

Each module has VERSION, and BUILDERS: for each kind of workload a function that takes sizes and arrays and
returns its step. A kind that is missing is not measured there.
"""
