"""The errors tahr raises, with TensorFlow's class names and codes, and the one builder of their messages.

When a graph is built, mistakes raise plain `ValueError` or `TypeError`, as in TensorFlow; when it runs they
raise a subclass of `OpError`. Every text has one form, written by `describe`:

    MatMul: Dimensions must be equal, but are 784 and 10: a is [32, 784], b is [10, 784].
      model.py:41   logits = tf.matmul(x, w) + b
      Fix: tf.matmul(x, w, transpose_b=True), or give w the shape [784, 10].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16

_MAX_LINES = 12


def describe(subject: str, problem: str, where: Sequence[str] = (), fix: str | None = None) -> str:
    """One error text: what happened, to which operation, on which lines of the user's, and what to write.

    Args:
        subject: the op type or function that found the mistake, e.g. "MatMul"; "" leaves it out.
        problem: what was got and what was expected.
        where: lines that locate it, usually from `Source.describe`; at most nine are kept.
        fix: what to write instead.

    Returns:
        A text of at most 12 lines; of a longer problem, the first line and the last ones.
    """
    tail = [f"  {line}" for line in where[:9]]
    if len(where) > 9:
        tail.append(f"  ... and {len(where) - 9} more")
    if fix:
        tail.append(f"  Fix: {fix}")
    lines = [line for line in problem.splitlines() if line.strip()] or [""]
    if subject:
        lines[0] = f"{subject}: {lines[0]}"
    room = _MAX_LINES - len(tail)
    if len(lines) > room:
        lines = lines[:1] if room < 3 else [lines[0], "  ...", *lines[len(lines) - room + 2 :]]
    return "\n".join(lines + tail)


class OpError(Exception):
    """An error that an operation met while it ran.

    Args:
        node_def: the operation's NodeDef, or None.
        op: the `Operation` that failed, or None where it is not known.
        message: the text.
        error_code: one of this module's integer codes.
    """

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int = UNKNOWN) -> None:
        super().__init__(message)
        self._node_def = node_def
        self._op = op
        self._message = message
        self._error_code = error_code

    @property
    def message(self) -> str:
        """The text of the error."""
        return self._message

    @property
    def op(self) -> Any:
        """The `Operation` that failed, or None."""
        return self._op

    @property
    def error_code(self) -> int:
        """The integer code of the error's class, as in `tf.errors`."""
        return self._error_code

    @property
    def node_def(self) -> Any:
        """The NodeDef of the operation that failed, or None."""
        if self._node_def is None and self._op is not None:
            return self._op.node_def
        return self._node_def

    def __reduce__(self) -> tuple[Any, ...]:
        # Operations cannot be pickled; the text, which names the operation, can.
        if type(self) is OpError:
            return OpError, (None, None, self._message, self._error_code)
        return type(self), (None, None, self._message)


class _CodedError(OpError):
    """An `OpError` whose code is fixed by its class."""

    code = UNKNOWN

    def __init__(self, node_def: Any, op: Any, message: str) -> None:
        super().__init__(node_def, op, message, self.code)


class CancelledError(_CodedError):
    """The operation was cancelled, for example because its queue or session was closed."""

    code = CANCELLED


class UnknownError(_CodedError):
    """Something failed that has no better class, for example an exception inside `py_func`."""

    code = UNKNOWN


class InvalidArgumentError(_CodedError):
    """An operation received a value it cannot take: a wrong shape, index, or element."""

    code = INVALID_ARGUMENT


class DeadlineExceededError(_CodedError):
    """The time given by `timeout_in_ms` ran out."""

    code = DEADLINE_EXCEEDED


class NotFoundError(_CodedError):
    """A file, key or resource does not exist."""

    code = NOT_FOUND


class AlreadyExistsError(_CodedError):
    """Something that was to be made exists already."""

    code = ALREADY_EXISTS


class PermissionDeniedError(_CodedError):
    """The caller may not do this."""

    code = PERMISSION_DENIED


class ResourceExhaustedError(_CodedError):
    """Memory or another resource ran out."""

    code = RESOURCE_EXHAUSTED


class FailedPreconditionError(_CodedError):
    """The system is not in the state the operation needs, e.g. a variable is not initialized."""

    code = FAILED_PRECONDITION


class AbortedError(_CodedError):
    """The operation was aborted, for example because a queue was closed with pending requests."""

    code = ABORTED


class OutOfRangeError(_CodedError):
    """The end of an input was reached: a queue closed and empty, or a dataset at its end."""

    code = OUT_OF_RANGE


class UnimplementedError(_CodedError):
    """The operation exists, but not for these types or arguments."""

    code = UNIMPLEMENTED


class InternalError(_CodedError):
    """An invariant of tahr itself is broken."""

    code = INTERNAL


class UnavailableError(_CodedError):
    """The runtime cannot be reached."""

    code = UNAVAILABLE


class DataLossError(_CodedError):
    """Data was lost or corrupted."""

    code = DATA_LOSS


class UnauthenticatedError(_CodedError):
    """The request carries no valid credentials."""

    code = UNAUTHENTICATED


_CODES: dict[int, type[_CodedError]] = {
    cls.code: cls
    for cls in (
        CancelledError,
        UnknownError,
        InvalidArgumentError,
        DeadlineExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        InternalError,
        UnavailableError,
        DataLossError,
        UnauthenticatedError,
    )
}


def exception_type_from_error_code(error_code: int) -> type[_CodedError]:
    """The `OpError` subclass of an integer code. Raises KeyError for an unknown code."""
    return _CODES[error_code]


def error_code_from_exception_type(cls: type[_CodedError]) -> int:
    """The integer code of an `OpError` subclass. Raises KeyError for another class."""
    code = getattr(cls, "code", None)
    if code is None or _CODES.get(code) is not cls:
        raise KeyError(cls)
    return code


class Complaint(ValueError):
    """What a shape rule or a kernel has to say against its inputs.

    Whoever catches it knows the operation and turns it into ValueError while a graph is built and into
    InvalidArgumentError (or `kind`) while it runs.
    """

    def __init__(
        self, problem: str, fix: str | None = None, kind: type[_CodedError] = InvalidArgumentError
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.kind = kind
