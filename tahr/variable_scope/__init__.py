"""Variables that are found by their names: `get_variable` and the scopes that name and share them.

A graph has one `VariableStore`, which knows every variable that `get_variable` made. Each thread stands in
one `VariableScope` of a graph, which gives the prefix of names, says whether variables are made or shared,
and holds the defaults of the arguments.

Source of the rules: TensorFlow 1.15, python/ops/variable_scope.py, partitioned_variables.py and template.py.
"""

from tahr.variable_scope.partitions import (
    PartitionedVariable as PartitionedVariable,
    fixed_size_partitioner as fixed_size_partitioner,
    min_max_variable_partitioner as min_max_variable_partitioner,
    variable_axis_size_partitioner as variable_axis_size_partitioner,
)
from tahr.variable_scope.scopes import (
    VariableScope as VariableScope,
    get_local_variable as get_local_variable,
    get_variable as get_variable,
    get_variable_scope as get_variable_scope,
    variable_op_scope as variable_op_scope,
    variable_scope as variable_scope,
)
from tahr.variable_scope.store import (
    AUTO_REUSE as AUTO_REUSE,
    VariableStore as VariableStore,
    no_regularizer as no_regularizer,
)
from tahr.variable_scope.templates import Template as Template, make_template as make_template
