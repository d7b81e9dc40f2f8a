"""From a function's outline to Programs: one for each stage that can be planned before the run has to look at data.

Within a Program every rank and dtype is concrete, and a dimension is an integer or a symbol. Where an operation's
output shape depends on data (unique, boolean_mask, py_func) or an operation may block (dequeue), a stage ends: what
follows is extracted when the shapes are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import Const
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.opdef import OpDef
from tahr.core.shapes import Range, Shape, Spec
from tahr.core.sizes import Unknown
from tahr.ops import casts, control_flow, counted, slicing, state
from tahr.program import counters, slices
from tahr.program.effects import Key, SlotKey, StateRead, is_variable, own_read, slot_of
from tahr.program.function import (
    Function,
    body_function,
    branch_function,
    live_results,
    live_variables,
    test_function,
)
from tahr.program.node import Builder, Input, Node, Program, Value


@dataclass
class Stage:
    """One Program of a function, and what is left to do after it.

    Attributes:
        program: computes `outputs` from `inputs`.
        inputs: the keys of the values it takes.
        outputs: the keys of the values it gives, for later stages or as the function's results.
        done: the operations that it (and earlier stages) ran.
        blocking: operations that may block, whose inputs are ready once it ran: the run itself starts them.
        is_last: whether nothing is left.
    """

    program: Program
    inputs: list[Key]
    outputs: list[Key]
    done: frozenset[Operation]
    blocking: list[Operation] = field(default_factory=list[Operation])
    is_last: bool = True


def extract(
    function: Function, specs: Mapping[Key, Spec], done: frozenset[Operation], begun: frozenset[Operation]
) -> Stage:
    """The next stage of a function.

    Args:
        function: what is computed.
        specs: for each value that is available what is known of it: concrete rank and dtype, integers and symbols.
        done: the operations that earlier stages ran.
        begun: operations that may block and have been started, but have not ended.

    Returns:
        The stage; it runs at least one operation, unless all that is left waits for those in `begun`.
    """
    return _Extraction(function, specs, done, begun).stage()


class _Extraction:
    def __init__(
        self,
        function: Function,
        specs: Mapping[Key, Spec],
        done: frozenset[Operation],
        begun: frozenset[Operation],
    ) -> None:
        self.function = function
        self.outline = function.outline
        self.padded = function.padded
        self.builder = Builder()
        self.done = done
        self.begun = begun
        self.given = {
            key: self.builder.add(Input, (), {"place": i}, [spec]).outputs[0]
            for i, (key, spec) in enumerate(specs.items())
        }
        # Values whose dtype, rank and sizes are known, so that others can be built on them.
        self.values: dict[Key, Value] = dict(self.given)
        # For each operation built here its node, and a value (or None) for each of its outputs.
        self.nodes: dict[Operation, Node] = {}
        self.outputs: dict[Operation, Sequence[Value | None]] = {}
        self.deferred: list[Operation] = []
        self.roots: list[Node] = []
        self.results = [result_key(function, i) for i in range(len(function.outputs))]
        self.needed: dict[Key, None] = dict.fromkeys(self.results)
        # Of those, what is surely used: a branch's captures may not be.
        self.surely_used: set[Key] = set(self.results)
        for op in self.outline.order:
            keys = list(self._keys(op))
            self.needed.update(dict.fromkeys(keys))
            if op.opdef is not control_flow.If:
                self.surely_used.update(keys)
        # By the variable and the write that they see.
        self.reads_of: dict[tuple[SlotKey, Operation | None], list[StateRead]] = {}
        for key in self.needed:
            if isinstance(key, StateRead):
                self.reads_of.setdefault((slot_of(key.variable), key.after), []).append(key)

    # ------------------------------------------------------------ the stage as a whole

    def stage(self) -> Stage:
        for op in self.outline.order:
            if op not in self.done and op not in self.begun:
                self._visit(op)
        outputs: dict[Key, Value] = {}
        for key in [*self.results, *self._crossing()]:
            value = self._available(key)
            if value is not None and (key not in self.given or key in self.results):
                outputs[key] = value
        return Stage(
            Program(self.builder, list(self.given.values()), list(outputs.values()), self.roots),
            list(self.given),
            list(outputs),
            self.done.union(self.nodes),
            self._blocking(),
            not self.deferred and not self.begun,
        )

    def _blocking(self) -> list[Operation]:
        """The operations that may block and whose inputs are there after this stage."""
        return [op for op in self.deferred if op.opdef.effects.may_block and self._is_ready(op)]

    def _visit(self, op: Operation) -> None:
        """Makes the operation's node, or puts it off."""
        if op.opdef.effects.may_block or not self._is_ready(op):
            self.deferred.append(op)
            return
        node, outputs = self._build(op)
        self.nodes[op] = node
        self.outputs[op] = outputs
        if node.has_effects and node.op is op:
            self.roots.append(node)
        if all(v is None or _is_known(v.spec) for v in outputs):
            self._note(op, outputs)

    def _note(self, op: Operation, outputs: Sequence[Value | None]) -> None:
        for tensor, value in zip(op.outputs, outputs):
            if value is not None and tensor not in self.given:
                self.values[tensor] = value

    def _is_ready(self, op: Operation) -> bool:
        """Whether what the operation depends on is done or is built in this stage, with known shapes."""
        tokens = self.outline.tokens.get(op, ())
        return all(t in self.done or t in self.nodes for t in tokens) and all(
            map(self._is_available, self._keys(op))
        )

    def _is_available(self, key: Key) -> bool:
        if key in self.values:
            return True
        if isinstance(key, StateRead):
            return key.after is None or key.after in self.done or key.after in self.nodes
        return key.op in self.done and _can_rebuild(key)

    def _keys(self, op: Operation) -> Iterable[Key]:
        """The values that the operation takes; variables themselves are not among them."""
        for i, tensor in enumerate(op.inputs):
            if _takes_variable(op, i):
                continue
            read = self.outline.reads.get((op, i))
            if tensor in self.given or read is None:
                yield tensor
            else:
                yield read
        yield from self.outline.region_reads.get(op, ())

    def _crossing(self) -> list[Key]:
        """What later stages take from this one or earlier ones; what is cheap and known in part they compute again."""
        # An operation that blocks is no part of a Program: it is handed all of its inputs.
        crossing: dict[Key, None] = dict.fromkeys(key for op in self._blocking() for key in self._keys(op))
        seen: set[Key] = set()
        waiting = [*self.deferred, *(op for op in self.outline.order if op in self.begun)]
        stack = [key for op in waiting for key in self._keys(op)]
        while stack:
            key = stack.pop()
            if key in seen:
                continue
            seen.add(key)
            if (
                isinstance(key, Tensor)
                and key not in self.given
                and _can_rebuild(key)
                and self._is_cheap(key)
            ):
                stack.extend(self._keys(key.op))
            else:
                crossing[key] = None
        return list(crossing)

    def _is_cheap(self, tensor: Tensor) -> bool:
        padded = self.padded.get(tensor.op)
        if tensor.op.opdef is Const or (padded is not None and padded.finder is tensor.op):
            return True  # how many rows count belongs to no tensor: what counts them is at hand in each stage
        value = self.values.get(tensor)
        return value is not None and value.spec.value is not None

    # ------------------------------------------------------------ values

    def _available(self, key: Key) -> Value | None:
        """The value named by a key, made now if it can be; None if it belongs to a later stage."""
        found = self.values.get(key)
        if found is not None:
            return found
        if isinstance(key, StateRead):
            fed = self.given.get(key.variable.outputs[0])
            if fed is not None:  # feeding a variable replaces all of its reads
                return fed
            if not self._is_available(key):
                return None
            self.values[key] = self._read(key)
            return self.values[key]
        if key.op in self.outputs:
            return self.outputs[key.op][key.value_index]  # its shape depends on data
        if key.op in self.done and _can_rebuild(key):
            self._note(key.op, self._build(key.op)[1])
            return self.values[key]
        return None

    def _value(self, key: Key) -> Value:
        found = self._available(key)
        assert found is not None, key
        return found

    def _input(self, op: Operation, place: int) -> Value:
        """What an operation takes: a tensor's value, or that of a variable as it sees it."""
        tensor, read = op.inputs[place], self.outline.reads.get((op, place))
        return self._value(tensor if tensor in self.given or read is None else read)

    def _cell(self, variable: Operation) -> Value:
        """The variable itself, as the operations that write it take it."""
        attrs = dict(variable.attrs, shared_name=slot_of(variable).name)
        return self.builder.node(variable.opdef, (), attrs, variable).outputs[0]

    def _read(self, key: StateRead) -> Value:
        """A read of a variable, after the write that it sees."""
        variable = key.variable
        attrs: dict[str, Any] = {
            "dtype": variable.attrs["dtype"],
            "shape": variable.attrs["shape"],
            "lenient": key not in self.surely_used,
        }
        tokens = [self.nodes[key.after]] if key.after in self.nodes else []
        spec = Spec(attrs["dtype"], attrs["shape"])
        return self.builder.add(
            state.ReadCell, [self._cell(variable)], attrs, [spec], variable, tokens
        ).outputs[0]

    # ------------------------------------------------------------ nodes

    def _build(self, op: Operation) -> tuple[Node, Sequence[Value | None]]:
        tokens = [self.nodes[t] for t in self.outline.tokens.get(op, ()) if t in self.nodes]
        tokens += self._reads_before(op)
        if op.opdef is control_flow.While:
            return self._loop(op, tokens)
        if op.opdef is control_flow.If:
            return self._branching(op, tokens)
        inputs: list[Value] = []
        for i, tensor in enumerate(op.inputs):
            if _takes_variable(op, i):
                inputs.append(self._cell(state.variable_op(tensor)))
            else:
                inputs.append(self._input(op, i))
        if op.opdef is state.ReadVariableOp:
            return inputs[0].node, inputs
        inputs, attrs = self._promoted(op, inputs), _attrs(op)
        opdef, inputs = self._counted(op, inputs)
        try:
            if opdef is slicing.StridedSlice:
                inputs, attrs = slices.with_block(self.builder, inputs, attrs, op)
            node = self.builder.node(opdef, inputs, attrs, op, tokens)
        except ValueError:
            # What was fed does not fit. The kernel says so if the operation runs: a branch may never be taken.
            node = self.builder.node(opdef, inputs, attrs, op, tokens, [t.spec for t in op.outputs])
        return node, node.outputs

    def _counted(self, op: Operation, inputs: list[Value]) -> tuple[OpDef, list[Value]]:
        """What stands for an operation, and its inputs: see `padding`."""
        padded = self.padded.get(op)
        if padded is None:
            return op.opdef, inputs
        if padded.finder is op:
            return counted.PADDED[op.opdef], inputs
        count = self._value(padded.finder.outputs[0]).node.outputs[-1]
        if not padded.numbers:
            return counted.counted(op.opdef), [*inputs, count]
        for i in padded.numbers:
            dtype = inputs[i].dtype
            assert dtype is not None
            inputs[i] = self._cast(count, dtype)
        return op.opdef, inputs

    def _reads_before(self, op: Operation) -> list[Node]:
        """The reads of the state that the operation replaces: they must be over when it writes.

        Those of earlier states are over before the write that came before it.
        """
        nodes: list[Node] = []
        for slot in self.outline.written.get(op, ()):
            chain = self.outline.writers[slot]
            place = chain.index(op)
            before = chain[place - 1] if place else None
            for key in self.reads_of.get((slot, before), ()):
                value = self._available(key)
                if value is not None and value.node.opdef is state.ReadCell:
                    nodes.append(value.node)
        return nodes

    def _promoted(self, op: Operation, inputs: list[Value]) -> list[Value]:
        """The inputs with one dtype for each type variable, by NumPy's promotion, below placeholders without dtype."""
        if all(t.spec.dtype is not None for t in op.inputs):
            return inputs
        groups: dict[str, list[int]] = {}
        for i, arg in enumerate(op.opdef.flat_inputs(len(inputs), op.attrs)):
            if not arg.is_hetero:
                groups.setdefault(arg.type, []).append(i)
        result = list(inputs)
        for name, places in groups.items():
            if all(op.inputs[i].spec.dtype is not None for i in places):
                continue
            variable = next((op.inputs[i] for i in places if _takes_variable(op, i)), None)
            if variable is not None:  # what is written to a variable takes its dtype
                dtype = variable.dtype.base_dtype
            else:
                operands = [_promotable(op.inputs[i], inputs[i]) for i in places]
                dtype = dtypes.of_numpy(np.result_type(*operands))
                allowed = op.opdef.types.get(name)
                # The logarithm of integers is computed in float64, as NumPy does.
                if allowed is not None and dtype not in allowed and (dtype.is_integer or dtype.is_bool):
                    dtype = dtypes.float64
            for i in places:
                if inputs[i].dtype is not dtype:
                    result[i] = self._cast(inputs[i], dtype)
        return result

    def _cast(self, value: Value, dtype: dtypes.DType) -> Value:
        if value.constant is not None:
            return self.builder.constant(value.constant.astype(dtype.numpy))
        return self.builder.value(casts.Cast, value, DstT=dtype)

    # ------------------------------------------------------------ regions

    def _branching(self, op: Operation, tokens: Sequence[Node]) -> tuple[Node, Sequence[Value | None]]:
        wanted = live_results(op, self._wanted(op))
        captures: dict[Value, int] = {}
        attrs = {
            branch: self._placed(op, branch_function(op.attrs[branch], wanted), captures, 0)
            for branch in ("then_branch", "else_branch")
        }
        inputs = [self._input(op, 0), *captures]
        given = list(captures)
        results = [
            _inferred(function, [given[p].spec for p in places]) for function, places in attrs.values()
        ]
        specs = [_joined(op.outputs[i], [r[k] for r in results]) for k, i in enumerate(wanted)]
        return self._higher_order(op, inputs, attrs, specs, wanted, tokens)

    def _loop(self, op: Operation, tokens: Sequence[Node]) -> tuple[Node, Sequence[Value | None]]:
        body = op.attrs["body"]
        live = live_variables(op, self._wanted(op))
        captures: dict[Value, int] = {}
        attrs = {
            "cond": self._placed(op, test_function(op, live), captures, len(live)),
            "body": self._placed(op, body_function(op, live), captures, len(live)),
        }
        inputs = [*(self._input(op, i) for i in live), *captures]
        known = [v.spec for v in inputs]
        within = counters_within(attrs, known)
        specs = _loop_specs(attrs["body"], [body.inputs[i] for i in live], known, within)
        return self._higher_order(op, inputs, attrs, specs, live, tokens)

    def _higher_order(
        self,
        op: Operation,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        specs: Sequence[Spec],
        places: Sequence[int],
        tokens: Sequence[Node],
    ) -> tuple[Node, Sequence[Value | None]]:
        """A node that runs regions. It gives only what is wanted: the outputs of the operation at `places`."""
        node = self.builder.add(op.opdef, inputs, attrs, specs, op, tokens)
        by_place = dict(zip(places, node.outputs))
        return node, [by_place.get(i) for i in range(len(op.outputs))]

    def _wanted(self, op: Operation) -> list[int]:
        """The outputs of an operation that something needed takes."""
        return [i for i, t in enumerate(op.outputs) if t in self.needed]

    def _placed(
        self, op: Operation, function: Function, captures: dict[Value, int], offset: int
    ) -> tuple[Function, tuple[int, ...]]:
        """A region's function, and where its captures and states are among the node's inputs."""
        states: dict[SlotKey, Key] = {}
        for read in self.outline.region_reads.get(op, ()):
            named = own_read(read.variable)
            states[slot_of(read.variable)] = named if named is not None and named in self.given else read
        keys: list[Key] = [*function.captures, *(states[s] for s in function.outline.states)]
        return function, tuple(captures.setdefault(self._value(k), offset + len(captures)) for k in keys)


def _inferred(function: Function, specs: Sequence[Spec]) -> list[Spec]:
    """What is known of a region's results, given what is known of what it takes.

    The region is extracted for these specs; where a stage of it ends before a result is there, the graph's static
    shape is all that is known.
    """
    key = tuple(spec.key for spec in specs)
    found = function.inferred.get(key)
    if found is None:
        stage = extract(function, dict(zip(function.keys, specs)), frozenset(), frozenset())
        known = {k: v.spec for k, v in zip(stage.outputs, stage.program.outputs)}
        found = function.inferred[key] = [
            known[k] if (k := result_key(function, i)) in known else Spec(t.spec.dtype, t.spec.shape)
            for i, t in enumerate(function.outputs)
        ]
    return found


def counters_within(regions: Mapping[str, Any], known: Sequence[Spec]) -> list[Range | None]:
    """The ranges of a loop's variables in its body, where they matter.

    Args:
        regions: the loop's attributes: its condition and its body, and the places of their captures.
        known: what is known of what the loop takes.
    """
    (test, places), (body, _) = regions["cond"], regions["body"]
    count = len(body.outputs)
    if not counters.may_matter(body.outline.order):
        return [None] * count
    # All that is known of what the body changes is what holds in every iteration.
    specs = [
        Spec(first.dtype, first.shape if before is after else before.spec.shape)
        for first, before, after in zip(known, body.inputs, body.outputs)
    ]
    specs += [known[p] for p in places]
    stage = extract(test, dict(zip(test.keys, specs)), frozenset(), frozenset())
    if not stage.is_last:
        return [None] * count
    condition = stage.program.outputs[stage.outputs.index(result_key(test, 0))]
    return counters.ranges(condition, stage.program.inputs[:count], body, known[:count])


def _loop_specs(
    region: tuple[Function, Sequence[int]],
    variables: Sequence[Tensor],
    known: Sequence[Spec],
    within: Sequence[Range | None],
) -> list[Spec]:
    """What holds of a loop's variables in every iteration: a fixed point of what one iteration makes of it.

    It starts from the initial values' sizes and gives up those that the body changes. Where all sizes stay, the loop's
    results have known shapes, and no stage need end behind it.

    Args:
        region: the loop's body, and the places of what it captures.
        variables: the loop's variables.
        known: what is known of what the loop takes: its variables' first values, and what is captured.
        within: the variables' ranges in the body.
    """
    body, places = region
    initial, captured = known[: len(variables)], [known[p] for p in places]
    specs = [
        Spec(s.dtype, _specific(t.spec.shape, s.shape), None, s.items) for t, s in zip(variables, initial)
    ]
    for _ in range(4):
        if not all(map(_is_known, specs)):
            break
        counting = [s._replace(within=w) for s, w in zip(specs, within)]
        after = _inferred(body, [*counting, *captured])
        joined = [
            Spec(s.dtype, shapes.join(s.shape, a.shape), None, shapes.join_items(s.items, a.items))
            for s, a in zip(specs, after)
        ]
        if joined == specs:
            return specs
        specs = joined
    return [Spec(s.dtype, v.spec.shape) for s, v in zip(initial, variables)]


def _specific(static: Shape, actual: Shape) -> Shape:
    """The loop variable's shape with the initial value's sizes where its invariant says nothing."""
    if static is None or actual is None or len(static) != len(actual):
        return actual
    return tuple(d if isinstance(d, int) else a for d, a in zip(static, actual))


def _joined(tensor: Tensor, alternatives: Sequence[Spec]) -> Spec:
    """What holds of a branching's result, whichever branch gave it."""
    first, *others = alternatives
    shape, items = first.shape, first.items
    for other in others:
        shape, items = shapes.join(shape, other.shape), shapes.join_items(items, other.items)
    return Spec(first.dtype or tensor.spec.dtype, shape, None, items)


def result_key(function: Function, index: int) -> Key:
    """What names one of a function's results."""
    return function.outline.reads.get((None, index)) or function.outputs[index]


def _takes_variable(op: Operation, index: int) -> bool:
    """Whether an operation takes at this place a variable itself rather than its value."""
    if not is_variable(op.inputs[index]) or op.opdef is state.ReadVariableOp:
        return False
    if op.opdef is control_flow.While or op.opdef is control_flow.If:
        return True
    effects = op.opdef.effects
    return index in effects.writes or index in effects.reads


def _can_rebuild(tensor: Tensor) -> bool:
    """Whether an operation may be computed again in a later stage: it is pure and has no regions."""
    op = tensor.op
    return not op.opdef.effects.any and not any(isinstance(v, Region) for v in op.attrs.values())


def _is_known(spec: Spec) -> bool:
    if spec.dtype is None or spec.shape is None:
        return False
    return not any(isinstance(d, Unknown) for d in spec.shape)


def _promotable(tensor: Tensor, value: Value) -> Any:
    """What NumPy's promotion sees: a Python number where the constant is weak, else the dtype."""
    if tensor.spec.dtype is None and value.constant is not None and value.constant.ndim == 0:
        return value.constant.item()
    assert value.dtype is not None
    return value.dtype.numpy


def _attrs(op: Operation) -> dict[str, Any]:
    """An operation's attributes for its node; a weak constant gets the dtype of its array."""
    if op.opdef is Const and op.attrs["dtype"] is None:
        value = op.attrs["value"]
        return {"value": value, "dtype": dtypes.of_numpy(value.dtype)}
    return op.attrs
