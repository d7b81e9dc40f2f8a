"""Functions for rare arguments, behind branches: what `scalar.seldom` means.

A vector branches where it stands, if the condition holds for any element. One element is as a rule in a loop that LLVM
makes vectors of, if there is no branch in it: there, the branch is in a function, a *companion*, which has variants for
vectors. Either calls a second companion, which computes element by element: remainders are the C library's, and huge
angles are reduced in `huge_angles.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import huge_angles, ir

# LLVM's vectorizer makes vectors of up to so many doubles, in which these functions are computed.
_WIDTHS = (2, 4, 8)
_PURE = "noinline nounwind willreturn memory(none)"


@dataclass(frozen=True)
class _Rare:
    """A function for rare arguments, of vectors of a width or of one element.

    Attributes:
        name: "sin", "cos", "tan" or "fmod".
        arity: how many operands it has.
        width: how many elements a vector has; None for one element.
    """

    name: str
    arity: int
    width: int | None

    @property
    def type(self) -> str:
        """The type of operands and result."""
        return ir.F64 if self.width is None else ir.vector(self.width, ir.F64)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The operands' types and names."""
        return [(self.type, f"x{i}") for i in range(self.arity)]

    def companion(self, f: ir.Function) -> str:
        """The name of a function that computes it.

        LLVM knows that it is seldom run, and may not compute ahead of the branch what it gives.
        """
        name = f"rare.{f.name}.{self.name}.{ir.suffix(self.type)}"
        if name not in f.companions:
            own = ir.Function(name, self.parameters, self.type, f"cold {_PURE}", "internal")
            if self.name == "fmod":
                operands = ", ".join(f"%{parameter}" for _, parameter in self.parameters)
                result = own.value(f"frem {self.type} {operands}")
            else:
                result = self._of_angles(own, huge_angles.function(f, self.name))
            f.companions[name] = own.finish(f"{self.type} {result}")
        return name

    def _of_angles(self, f: ir.Function, function: str) -> str:
        """A function of a double, for each element of the one operand."""
        if self.width is None:
            return f.value(f"call double @{function}(double %x0)")
        result = f.variable(self.type)
        with f.loop(0, self.width) as i:
            x = f.value(f"extractelement {self.type} %x0, i64 {i}")
            f.store(ir.F64, f.value(f"call double @{function}(double {x})"), f.at(ir.F64, result, i))
        return f.load(self.type, result)

    def branch(self, f: ir.Function, condition: str, usual: str, operands: Sequence[str]) -> str:
        """The function where a condition holds, else what is usual, in blocks of their own."""
        result = f.variable(self.type, usual)
        bools = ir.I1 if self.width is None else ir.vector(self.width, ir.I1)
        with f.when(self._any(f, condition)):
            arguments = ", ".join(f"{self.type} {x}" for x in operands)
            found = f.value(f"call {self.type} @{self.companion(f)}({arguments})")
            chosen = f.value(f"select {bools} {condition}, {self.type} {found}, {self.type} {usual}")
            f.store(self.type, chosen, result)
        return f.load(self.type, result)

    def _any(self, f: ir.Function, condition: str) -> str:
        """Whether a condition holds for any element."""
        if self.width is None:
            return condition
        bits = f.value(f"bitcast {ir.vector(self.width, ir.I1)} {condition} to i{self.width}")
        return f.value(f"icmp ne i{self.width} {bits}, 0")

    def branching(self, name: str) -> str:
        """The text of a function that branches."""
        bools = ir.I1 if self.width is None else ir.vector(self.width, ir.I1)
        arguments = [(bools, "condition"), (self.type, "usual"), *self.parameters]
        f = ir.Function(name, arguments, self.type, _PURE, "internal")
        result = self.branch(f, "%condition", "%usual", [f"%{parameter}" for _, parameter in self.parameters])
        return f.finish(f"{self.type} {result}")


def emit(
    f: ir.Function, name: str, width: int | None, condition: str, usual: str, operands: Sequence[str]
) -> str:
    """Emits a function of doubles for rare arguments, or what is usual.

    Args:
        name: "sin", "cos", "tan" or "fmod".
        width: how many elements the values have; None for one.
        condition: where the function is called: i1.
        usual, operands: doubles.
    """
    if width is not None:
        return _Rare(name, len(operands), width).branch(f, condition, usual, operands)
    function, attribute = _vectorizable(f, name, len(operands))
    arguments = ", ".join(f"double {x}" for x in (usual, *operands))
    return f.value(f"call double @{function}(i1 {condition}, {arguments}) {attribute}")


def _vectorizable(f: ir.Function, name: str, arity: int) -> tuple[str, str]:
    """The name of a function that branches for one element, and the attribute of its calls.

    The attribute names the same function for vectors, which LLVM's vectorizer calls instead:
    https://llvm.org/docs/LangRef.html#call-site-attributes, "vector-function-abi-variant".
    """
    function = f"seldom.{f.name}.{name}"
    variants = {width: f"{function}.{width}" for width in _WIDTHS}
    if function not in f.companions:
        for width, each in {None: function, **variants}.items():
            f.companions[each] = _Rare(name, arity, width).branching(each)
        f.kept += variants.values()
    vectors = "v" * (2 + arity)
    named = ",".join(f"_ZGV_LLVM_N{width}{vectors}_{function}({each})" for width, each in variants.items())
    return function, f'"vector-function-abi-variant"="{named}"'
