"""Classes for sampled losses: NumPy's, from the same random words; see `tahr.ops.sampling`.

Classes are drawn one after the other until there are enough, since each one counts only if it was not drawn before.
But the numbers that they follow from are computed as vectors, some blocks of the stream ahead. How often the classes
are expected follows from how many draws it took, element by element.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from tahr.backends.native import distinct, draws, ir, kernel, lookups, nest_kernels, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref, Reserved, Status
from tahr.backends.native.draws import LANES, Distribution
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.lookups import Rows
from tahr.backends.native.nests import Access, Nest
from tahr.backends.native.single import Single
from tahr.backends.native.tiles import Loop
from tahr.core import dtypes, forms, scalar, sizes
from tahr.core.scalar import Scalar
from tahr.ops import philox, scalar_math
from tahr.program.node import Node, Value

# How many draws are made of the blocks that are computed at a time, two of each.
_AHEAD = 2 * LANES
# A class by Zipf's law follows from an exponential, rounded down. NumPy's may differ in the last bit, which decides
# with a chance of about classes / 2**56 a draw; of more classes than these NumPy draws.
_MOST_BY_RANK = 2**31


def draw(sampler: str, unique: bool) -> Kernel:
    """Draws classes, in one tile.

    Buffers: position, int64 classes [wanted], int64 how many draws it took, and where they shall all differ a table:
    int32 [2**bits]. Sizes: wanted, the number of classes there are, the bits of the float64 log(that number + 1), bits.
    Scratch: what the random words give, and behind it, where that is a number, the class that it stands for.
    """
    f = kernel.function()
    position, found, tries = (kernel.buffer(f, i) for i in range(3))
    wanted, classes, logarithm, bits = kernel.sizes(f, 4)
    slots = f.value(f"shl i64 1, {bits}")
    table = kernel.buffer(f, 3) if unique else None
    if table is not None:
        f.do(f"call void @llvm.memset.p0.i64(ptr {table}, i8 0, i64 {f.mul(slots, 4)}, i1 false)")
    known, tried = f.variable(ir.I64, "0", "known"), f.variable(ir.I64, "0", "tried")
    block = f.variable(ir.I64, "0", "block")
    again, more, done = (f.label(name) for name in ("again", "more", "done"))
    f.jump(again)
    f.open(again)
    f.branch(f.value(f"icmp slt i64 {f.load(ir.I64, known)}, {wanted}"), more, done)
    f.open(more)
    first = f.load(ir.I64, block)
    f.do(f"call void @{kernel.SYMBOL}_blocks(ptr %scratch, ptr {position}, i64 {first}, i64 1, i64 0, i64 0)")
    f.store(ir.I64, f.add(first, LANES), block)
    drawn = "%scratch" if sampler == "uniform" else _by_rank(f, classes, logarithm)
    with f.loop(0, _AHEAD, hint="draw") as i:
        number = f.load(ir.I64, f.at(ir.I64, drawn, i))
        counts = f.value(f"icmp slt i64 {f.load(ir.I64, known)}, {wanted}")
        if sampler == "uniform":
            counts = f.value(f"and i1 {counts}, {_has_no_bias(f, number, classes)}")
            number = f.rem(number, classes)
        with f.when(counts):
            f.store(ir.I64, f.add(f.load(ir.I64, tried), 1), tried)
            if table is None:
                _append(f, found, known, number)
            else:
                slot = distinct.slot(f, dtypes.int64, number, table, found, bits, slots)
                _append_new(f, found, known, number, f.at(ir.I32, table, slot))
    f.jump(again)
    f.open(done)
    f.store(ir.I64, f.load(ir.I64, tried), tries)
    is_uniform = sampler == "uniform"
    words = Distribution("words", dtypes.uint32) if is_uniform else Distribution("uniform", dtypes.float64)
    text = "\n\n".join([draws.blocks(words), f.finish()]) + "\n"
    return Kernel(text, 2 * 8 * _AHEAD, f"{sampler} {'different ' if unique else ''}classes")


def _append(f: ir.Function, found: str, known: str, number: str) -> str:
    """Appends a class, and gives how many there are then."""
    at = f.load(ir.I64, known)
    f.store(ir.I64, number, f.at(ir.I64, found, at))
    count = f.add(at, 1)
    f.store(ir.I64, count, known)
    return count


def _append_new(f: ir.Function, found: str, known: str, number: str, entry: str) -> None:
    """Appends a class where its entry in the table says that it is new."""
    with f.when(f.value(f"icmp eq i32 {f.load(ir.I32, entry)}, 0")):
        count = _append(f, found, known, number)
        f.store(ir.I32, f.value(f"trunc i64 {count} to i32"), entry)


def _has_no_bias(f: ir.Function, number: str, classes: str) -> str:
    """Whether 64 bits are none of the lowest 2**64 mod `classes` numbers, which would make low classes likelier."""
    left_out = f.rem(f.sub(0, classes), classes)
    return f.value(f"icmp uge i64 {number}, {left_out}")


def _by_rank(f: ir.Function, classes: str, logarithm: str) -> str:
    """Makes classes of the uniform numbers in scratch, and gives their address."""
    ranks = f.at(ir.F64, "%scratch", _AHEAD)
    height = f.value(f"bitcast i64 {logarithm} to double")
    uniform, logarithm_, count = (scalar.leaf(i, t) for i, t in enumerate(_RANK_TYPES))
    rank = scalar.convert(scalar_math.exp(uniform * logarithm_), dtypes.int64) - 1
    # A rank that is rounded up to that behind the last is the first again.
    element = scalar.select(scalar.lt(rank, count), rank, rank - count)
    with f.loop(0, _AHEAD, hint="rank") as i:
        number = f.load(ir.F64, f.at(ir.F64, "%scratch", i))
        (value,) = scalars.lower(f, [element], [number, height, classes])
        f.store(ir.I64, value, f.at(ir.I64, ranks, i))
    return ranks


_RANK_TYPES = (dtypes.float64, dtypes.float64, dtypes.int64)

# ---------------------------------------------------------------- expected counts


def expected_count(sampler: str, number: Scalar, tries: Scalar, wanted: int, classes: int) -> Scalar:
    """How often a class is expected among those drawn, float32; as `streams.Stream.candidates` computes it."""
    if sampler == "uniform":
        probability = scalar.constant(1.0 / classes, dtypes.float32)
    else:
        place = scalar.convert(number, dtypes.float64)
        share = scalar_math.log((place + 2.0) / (place + 1.0)) / math.log1p(classes)
        probability = scalar.convert(share, dtypes.float32)
    missed = scalar_math.log1p(-scalar.convert(probability, dtypes.float64))
    hit = -scalar_math.expm1(scalar.convert(tries, dtypes.float64) * missed)
    return scalar.select(
        scalar.eq(tries, wanted), probability * float(wanted), scalar.convert(hit, dtypes.float32)
    )


def _counts(node: Node, classes: Value, output: Value) -> Loop:
    """The nest that computes the expected counts of some classes."""
    number, tries = scalar.leaf(0, dtypes.int64), scalar.leaf(1, dtypes.int64)
    attrs = node.attrs
    count = expected_count(_sampler(node), number, tries, attrs["num_sampled"], attrs["range_max"])
    size = math.prod(classes.dims)  # pyright: ignore[reportArgumentType, reportCallIssue]
    dense, same = (Access(dtypes.int64, (stride,)) for stride in (1, 0))
    store = Access(single.dtype_of(output), (1,))
    return nest_kernels.compiled(Nest((), (size,), (dense, same), (), ((count, store),)), "expected counts")


# ---------------------------------------------------------------- calls


def _sampler(node: Node) -> str:
    form = node.opdef.form
    assert isinstance(form, forms.Candidates)
    return form.sampler


def _fits(node: Node) -> bool:
    attrs = node.attrs
    if not single.are_plain(node, (0,)) or node.inputs[0].shape is None or attrs["range_max"] <= 0:
        return False
    if _sampler(node) == "log_uniform" and attrs["range_max"] > _MOST_BY_RANK:
        return False
    most = attrs["range_max"] if attrs["unique"] else math.inf
    has_columns = sizes.surely_equal(node.inputs[0].shape[1], attrs["num_true"])
    return has_columns and 0 <= attrs["num_sampled"] <= most


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    true_classes, (found, of_true, of_found) = node.inputs[0], node.outputs
    wanted, classes, is_unique = (node.attrs[name] for name in ("num_sampled", "range_max", "unique"))
    tries = Partial(found, dtypes.int64, "tries")
    table = Partial(found, dtypes.int32, "table")
    bits = max(1, (2 * wanted - 1).bit_length())
    (logarithm,) = struct.unpack("q", struct.pack("d", math.log1p(classes)))
    given = single.place(places, true_classes)
    drawing = draw(_sampler(node), is_unique)
    checking = lookups.check(Rows(dtypes.int64, dtypes.int64, 1, None))
    counting = [(given, _counts(node, true_classes, of_true), of_true)]
    counting.append((Ref(found), _counts(node, found, of_found), of_found))

    def bind(known: Known) -> list[Bind]:
        position = Reserved(node, wanted * 2048 // philox.WORDS_PER_BLOCK)
        buffers = (Ref(position), Ref(found), Ref(tries), *((Ref(table),) if is_unique else ()))
        count = math.prod(single.exact(true_classes, known))
        return [
            Bind(checking, (given, Ref(Status())), single.bound((count, classes), 1)),
            Bind(drawing, buffers, single.bound((wanted, classes, logarithm, bits), 1)),
            *(
                Bind(loop.kernel, (numbers, Ref(tries), Ref(target)), loop.bind(known))
                for numbers, loop, target in counting
            ),
        ]

    def partials(known: Known) -> dict[Partial, int]:
        return {tries: 1} | ({table: 1 << bits} if is_unique else {})

    return single.call(node, places, (0,), bind, raises=True, partials=partials)


CANDIDATES = Single(_fits, lambda node: (0,), _call)
