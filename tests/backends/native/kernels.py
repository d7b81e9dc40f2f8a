"""Small kernels for the tests of what compiles and runs kernels."""

from __future__ import annotations

from tahr.backends.native import ir, kernel
from tahr.backends.native.kernel import Kernel


def scale(factor: float) -> Kernel:
    """Buffer 1 becomes buffer 0 times a factor, float32; size 0 is the number of elements of a tile."""
    f = kernel.function()
    source, target, tile = kernel.buffer(f, 0), kernel.buffer(f, 1), kernel.size(f, 0)
    with f.loop(f.mul("%begin", tile), f.mul("%end", tile)) as i:
        product = f.value(
            f"fmul float {f.load(ir.F32, f.at(ir.F32, source, i))}, {ir.number(factor, ir.F32)}"
        )
        f.store(ir.F32, product, f.at(ir.F32, target, i))
    return Kernel(ir.module([f.finish()]), 0, f"scale by {factor}")


def fail_at() -> Kernel:
    """Counts tiles in buffer 1 (int64); the tile that size 0 tells reports the code of size 1 to the status block."""
    f = kernel.function()
    status, count = kernel.buffer(f, 0), kernel.buffer(f, 1)
    bad, code = kernel.sizes(f, 2)
    with f.loop("%begin", "%end") as tile:
        f.do(f"atomicrmw add ptr {count}, i64 1 monotonic")
        with f.when(f.value(f"icmp eq i64 {tile}, {bad}")):
            f.store(ir.I64, tile, f.at(ir.I64, status, 1))
            f.store(ir.I64, code, status)
    return Kernel(ir.module([f.finish()]), 0, "fail")


def through_a_part(factor: float, part: Kernel) -> Kernel:
    """`scale(factor)` of what a part, a kernel too, makes of buffer 0."""
    own = scale(factor)
    f = kernel.function()
    passed = ", ".join(f"{kind} %{name}" for kind, name in kernel.ARGUMENTS)
    f.do(f"call void @{part.symbol}({passed})")
    second = f.at(ir.POINTER, "%buffers", 1)
    pair = f.variable("[2 x ptr]")
    for i in range(2):
        f.store(ir.POINTER, f.load(ir.POINTER, second), f.at(ir.POINTER, pair, i))
    f.do(f"call void @own({passed.replace('%buffers', pair)})")
    declared = ", ".join(kind for kind, _ in kernel.ARGUMENTS)
    texts = [own.text.replace("define", "define internal").replace(f"@{kernel.SYMBOL}", "@own"), f.finish()]
    text = ir.module(texts, [f"declare void @{part.symbol}({declared})"])
    return Kernel(text, 0, f"scale by {factor} and more", (part,))


def thread_of_tile(pause_microseconds: int = 0) -> Kernel:
    """Buffer 0 (int64) gets the identity of the thread that computed each tile."""
    f = kernel.function()
    threads = kernel.buffer(f, 0)
    with f.loop("%begin", "%end") as tile:
        f.store(ir.I64, f.value("call i64 @pthread_self()"), f.at(ir.I64, threads, tile))
        if pause_microseconds:
            f.do(f"call i32 @usleep(i32 {pause_microseconds})")
    declarations = ("declare i64 @pthread_self()", "declare i32 @usleep(i32)")
    return Kernel(ir.module([f.finish()], declarations), 0, "thread of tile")


def through_scratch(floats: int) -> Kernel:
    """Buffer 1 becomes buffer 0, float32, by way of scratch, whose address buffer 2 gets; so many floats a tile."""
    f = kernel.function()
    source, target, addresses = (kernel.buffer(f, i) for i in range(3))
    with f.loop("%begin", "%end") as tile:
        f.store(ir.POINTER, "%scratch", f.at(ir.POINTER, addresses, tile))
        start = f.mul(tile, floats)
        size = 4 * floats
        f.do(f"call void @llvm.memcpy(ptr %scratch, ptr {f.at(ir.F32, source, start)}, i64 {size}, i1 false)")
        f.do(f"call void @llvm.memcpy(ptr {f.at(ir.F32, target, start)}, ptr %scratch, i64 {size}, i1 false)")
    return Kernel(ir.module([f.finish()]), 4 * floats, f"copy {floats}")


def spin(rounds: int) -> Kernel:
    """Keeps a thread busy; buffer 0 gets a float64 for each tile."""
    f = kernel.function()
    results = kernel.buffer(f, 0)
    with f.loop("%begin", "%end") as tile:
        value = f.variable(ir.F64, ir.number(1.0, ir.F64))
        with f.loop(0, rounds):
            f.store(
                ir.F64, f.value(f"fmul double {f.load(ir.F64, value)}, {ir.number(1.000001, ir.F64)}"), value
            )
        f.store(ir.F64, f.load(ir.F64, value), f.at(ir.F64, results, tile))
    return Kernel(ir.module([f.finish()]), 0, f"spin {rounds}")


def broken() -> Kernel:
    """Calls what does not exist."""
    f = kernel.function()
    f.do("call void @no_such_function()")
    text = ir.module([f.finish()], ["declare void @no_such_function()"])
    return Kernel(text, 0, "broken")
