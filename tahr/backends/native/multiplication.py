"""Calls of matrix products: the kernel is chosen when exact sizes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tahr.backends.native import gemm, openblas
from tahr.backends.native.calls import Bind, Known, Partial, Ref
from tahr.backends.native.nests import Bound
from tahr.core import sizes
from tahr.core.sizes import Dim


@dataclass(frozen=True)
class Multiplication:
    """A matrix product, C = epilogue(A B), of sizes that need not be known yet.

    Attributes:
        product: its kernels.
        m, n, k: C is [m, n], A B sums over k.
        lda, ldb: the distance between rows of A and B as they are stored. C is dense.
        batches: batch dimensions: how many products, and the strides of A, B and C.
        least_rows, most_rows: where m is less, or more, nothing is computed.
    """

    product: gemm.Product
    m: Dim
    n: Dim
    k: Dim
    lda: Dim
    ldb: Dim
    batches: Sequence[tuple[Dim, Dim, Dim, Dim]] = ()
    least_rows: int = 0
    most_rows: int | None = None

    def _is_wanted(self, rows: int) -> bool:
        return self.least_rows <= rows and (self.most_rows is None or rows <= self.most_rows)

    def binder(
        self, buffers: tuple[Ref, ...], is_always: bool = True
    ) -> Callable[[Known], tuple[list[Bind], dict[Partial, int]]]:
        """What a `Call` binds it with.

        Args:
            buffers: A, B, the epilogue's operands and its outputs.
            is_always: whether the sum is always as long as it is, if that is known: then the kernel may know it, too.
        """
        m, n, k = (d if isinstance(d, int) else None for d in (self.m, self.n, self.k))
        k = k if is_always else None

        def bind(known: Known) -> tuple[list[Bind], dict[Partial, int]]:
            def value(dim: Dim) -> int:
                return sizes.evaluate(dim, known)  # pyright: ignore[reportArgumentType]

            exact = gemm.problem(
                self.product,
                value(self.m),
                value(self.n),
                value(self.k),
                [gemm.Batch(*map(value, dim)) for dim in self.batches],
                value(self.lda),
                value(self.ldb),
                value(self.n),
            )
            # The rows of a whole batch may have become those of one product: their number is not fixed then.
            way = gemm.choose(self.product, exact, (m if m == exact.m else None, n, k))
            kernel, table = gemm.kernel(self.product, way), gemm.sizes(self.product, exact, way)
            tiles = gemm.tiles(table) if self._is_wanted(value(self.m)) else 0
            bound = Bound(tuple(table), tiles, kernel.scratch)
            return [Bind(kernel, buffers, bound, openblas.NAME if way.library and tiles else "")], {}

        return bind
