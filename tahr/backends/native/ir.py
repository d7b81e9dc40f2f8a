"""LLVM IR as text: a builder that names values, opens blocks and writes loops.

Emitters write scalar or vector code through it and leave optimization to LLVM. What changes inside a loop lives in a
`variable` (a stack slot): LLVM's own passes turn those into registers, so no emitter has to place phi nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from tahr.core import dtypes
from tahr.core.dtypes import DType

I1, I8, I32, I64, POINTER, F32, F64 = "i1", "i8", "i32", "i64", "ptr", "float", "double"

# What elements of a dtype are in memory.
MEMORY: dict[DType, str] = {
    dtypes.bool_: I8,
    dtypes.int8: I8,
    dtypes.uint8: I8,
    dtypes.int16: "i16",
    dtypes.uint16: "i16",
    dtypes.int32: I32,
    dtypes.uint32: I32,
    dtypes.int64: I64,
    dtypes.uint64: I64,
    dtypes.float16: "half",
    dtypes.bfloat16: "bfloat",
    dtypes.float32: F32,
    dtypes.float64: F64,
}


def vector(count: int, element: str) -> str:
    """The type of a vector."""
    return f"<{count} x {element}>"


def splat(element: str, value: str) -> str:
    """A vector constant of equal elements."""
    return f"splat ({element} {value})"


def number(value: float | int | bool, kind: str) -> str:
    """A literal. Floats are written as the bits of the equal double, as LLVM wants them."""
    if kind == F64:
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if kind == F32:
        rounded = struct.unpack("<f", struct.pack("<f", value))[0]
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if kind == I1:
        return "true" if value else "false"
    return str(int(value))


class Function:
    """One function under construction; instructions go to the block that was opened last.

    Args:
        name: its symbol.
        args: types and names (without the percent sign) of its arguments.
        returns: its result type.
        attributes: LLVM function attributes, such as "alwaysinline".
        linkage: "internal" for what only this module calls.
        plain: whether its loops count as they shall. Then LLVM is not shown how an index grows: to look for better ways
            to count takes it a sixth of the time to make code, and finds some only where a short loop has many
            addresses.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[tuple[str, str]],
        returns: str = "void",
        attributes: str = "",
        linkage: str = "",
        plain: bool = False,
    ) -> None:
        self.name = name
        self._plain = plain
        self._head = (
            f"define {linkage} {returns} @{name}("
            + ", ".join(f"{kind} %{arg}" for kind, arg in args)
            + f") {attributes} {{"
        )
        self._slots: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self.block = "entry"
        self.metadata: list[str] = []
        """Definitions of metadata that the module must hold, each with a number unique in the function."""
        self.companions: dict[str, str] = {}
        """Other functions that go with this one, by name: it alone calls them."""
        self.kept: list[str] = []
        """Those of them that LLVM must keep, because it will call them instead of others."""

    # ------------------------------------------------------------ values

    def fresh(self, hint: str = "v") -> str:
        """A new name of a value."""
        self._count += 1
        return f"%{hint}.{self._count}"

    def label(self, hint: str) -> str:
        """A new name of a block."""
        return self.fresh(hint)[1:]

    def value(self, instruction: str, hint: str = "v") -> str:
        """Adds an instruction that gives a value, and returns its name."""
        name = self.fresh(hint)
        self._lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Adds an instruction without a value."""
        self._lines.append(f"  {instruction}")

    def open(self, label: str) -> None:
        """Starts a block; the one before must have ended."""
        self._lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        """Ends a block."""
        self.do(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        """Ends a block: goes on at one label where a condition (i1) holds, else at another."""
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    # ------------------------------------------------------------ memory

    def variable(self, kind: str, initial: str | None = None, hint: str = "var") -> str:
        """A stack slot; LLVM keeps it in a register where it can.

        Args:
            kind: its type.
            initial: the value that it gets here.
            hint: part of its name.
        """
        name = self.fresh(hint)
        self._slots.append(f"  {name} = alloca {kind}, align 64")
        if initial is not None:
            self.do(f"store {kind} {initial}, ptr {name}")
        return name

    def load(self, kind: str, pointer: str, align: int | None = None, hint: str = "x") -> str:
        """The value that a pointer leads to."""
        suffix = "" if align is None else f", align {align}"
        return self.value(f"load {kind}, ptr {pointer}{suffix}", hint)

    def store(self, kind: str, value: str, pointer: str, align: int | None = None) -> None:
        """Writes a value."""
        suffix = "" if align is None else f", align {align}"
        self.do(f"store {kind} {value}, ptr {pointer}{suffix}")

    def at(self, kind: str, pointer: str, index: str | int, hint: str = "p") -> str:
        """The address of the element at an index."""
        return self.value(f"getelementptr inbounds {kind}, ptr {pointer}, i64 {index}", hint)

    # ------------------------------------------------------------ integers

    def add(self, a: str | int, b: str | int) -> str:
        """a + b of i64."""
        return self.value(f"add nsw i64 {a}, {b}", "i")

    def sub(self, a: str | int, b: str | int) -> str:
        """a - b of i64."""
        return self.value(f"sub nsw i64 {a}, {b}", "i")

    def mul(self, a: str | int, b: str | int) -> str:
        """a b of i64."""
        return self.value(f"mul nsw i64 {a}, {b}", "i")

    def div(self, a: str | int, b: str | int) -> str:
        """a // b of i64 that are not negative."""
        return self.value(f"udiv i64 {a}, {b}", "i")

    def rem(self, a: str | int, b: str | int) -> str:
        """a % b of i64 that are not negative."""
        return self.value(f"urem i64 {a}, {b}", "i")

    def minimum(self, a: str | int, b: str | int) -> str:
        """The smaller of two i64."""
        return self.value(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})", "i")

    def maximum(self, a: str | int, b: str | int) -> str:
        """The larger of two i64."""
        return self.value(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})", "i")

    # ------------------------------------------------------------ control

    @contextmanager
    def loop(
        self, start: str | int, end: str | int, step: str | int = 1, hint: str = "i", metadata: str = ""
    ) -> Generator[str]:
        """The blocks of `for i in range(start, end, step)`; the context manager's value is i.

        What decides whether to go on is at the end, as processors and LLVM's passes prefer it; a first test skips the
        loop. What is known to run once is no loop.

        Args:
            start, end, step: i64 values; the step is positive.
            hint: part of the index's name.
            metadata: what follows the backward branch, such as ", !llvm.loop !3".
        """
        literals = [int(value) if str(value).isdecimal() else None for value in (start, end, step)]
        if _is_once(*literals):
            yield str(start)
            return
        body, done = self.label(f"{hint}.body"), self.label(f"{hint}.done")
        index, following = self.fresh(hint), self.fresh(f"{hint}.next")
        self.branch(self.value(f"icmp slt i64 {start}, {end}", "any"), body, done)
        before = self.block
        self.open(body)
        top = len(self._lines)
        yield index
        self._following(following, index, step)
        self.branch(self.value(f"icmp slt i64 {following}, {end}", "more"), body, done + metadata)
        # Only now it is known which block leads back.
        came = f"[ {start}, %{before} ], [ {following}, %{self.block} ]"
        self._lines.insert(top, f"  {index} = phi i64 {came}")
        self.open(done)

    def _following(self, name: str, index: str, step: str | int) -> None:
        """Names the index that follows."""
        if self._plain:  # what is expected of a value is forgotten where code is made, which is later
            self.do(f"{name} = call i64 @llvm.expect.i64(i64 {self.add(index, step)}, i64 0)")
        else:
            self.do(f"{name} = add nsw i64 {index}, {step}")

    @contextmanager
    def as_long_as(self, holds: Callable[[], str], hint: str = "loop") -> Generator[None]:
        """The blocks of `while holds():`; `holds` emits the test, and gives its condition (i1)."""
        test, body, done = (self.label(f"{hint}.{part}") for part in ("test", "body", "done"))
        self.jump(test)
        self.open(test)
        self.branch(holds(), body, done)
        self.open(body)
        yield
        self.jump(test)
        self.open(done)

    @contextmanager
    def when(self, condition: str) -> Generator[None]:
        """The block that runs where a condition (i1) holds."""
        body, done = self.label("then"), self.label("endif")
        self.do(f"br i1 {condition}, label %{body}, label %{done}")
        self.open(body)
        yield
        self.jump(done)
        self.open(done)

    @contextmanager
    def either(self, condition: str) -> Generator[Branches]:
        """Two blocks: the body of the context manager runs where the condition holds, up to `branches.otherwise()`."""
        yes, no, done = self.label("then"), self.label("else"), self.label("endif")
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")
        self.open(yes)
        yield Branches(self, no, done)
        self.jump(done)
        self.open(done)

    def finish(self, result: str = "void") -> str:
        """Ends the function with `ret`, and gives its text, with its companions'."""
        self.do(f"ret {result}")
        own = "\n".join([self._head, "entry:", *self._slots, *self._lines, "}"])
        return "\n\n".join([own, *self.companions.values(), *self._used()])

    def _used(self) -> list[str]:
        """LLVM's list of what stays though nothing refers to it: a module has one."""
        kept = ", ".join(f"ptr @{name}" for name in self.kept)
        array = f"[{len(self.kept)} x ptr] [{kept}]"
        return [f'@llvm.compiler.used = appending global {array}, section "llvm.metadata"'] if kept else []


def _is_once(start: int | None, end: int | None, step: int | None) -> bool:
    """Whether a loop from, to and by what may be known is known to run once."""
    return start is not None and end is not None and step is not None and start < end <= start + step


class Branches:
    """The two blocks of `Function.either`."""

    def __init__(self, function: Function, no: str, done: str) -> None:
        self._function = function
        self._no = no
        self._done = done

    def otherwise(self) -> None:
        """Ends the block that runs where the condition holds, and opens the other."""
        self._function.jump(self._done)
        self._function.open(self._no)


def module(functions: Iterable[str], declarations: Iterable[str] = ()) -> str:
    """The text of a module: declarations are given once each."""
    return "\n\n".join([*dict.fromkeys(declarations), *functions]) + "\n"


def intrinsic(f: Function, name: str, result: str, *args: str) -> str:
    """A call of an overloaded intrinsic whose operands have its result's type."""
    return f.value(f"call {result} @llvm.{name}.{suffix(result)}({', '.join(f'{result} {a}' for a in args)})")


_SUFFIXES = {F32: "f32", F64: "f64"}


def suffix(type_: str) -> str:
    """What the name of an overloaded intrinsic ends with."""
    if not type_.startswith("<"):
        return _SUFFIXES.get(type_, type_)
    count, _, element = type_[1:-1].partition(" x ")
    return f"v{count}{_SUFFIXES.get(element, element)}"
