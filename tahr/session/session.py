"""Sessions run graphs: `run` parses fetches and feeds, finds the planned function, and hands it to a backend."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr import errors
from tahr.backends import choice
from tahr.backends.base import Form, Run
from tahr.core import scopes
from tahr.core.boundary import hide_frames, is_boundary
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Graph, Tensor
from tahr.program.function import Function
from tahr.session import denormals, explain as explaining
from tahr.session.default import stack
from tahr.session.explain import Explanation
from tahr.session.fetches import Fetches, feed_tensors, feed_value, fetched, missing_feeds
from tahr.session.partial import PartialRun
from tahr.session.shortcuts import Shortcuts
from tahr.session.store import Store

# How many run signatures a graph remembers; past that the memory starts afresh.
MAX_ROUTINES = 1024

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})

# The numbers of partial runs, for their handles.
_handles = itertools.count()

_shared_stores: dict[str, Store] = {}


def shared_store(target: str) -> Store:
    """The state of a server: sessions on one target share their variables."""
    return _shared_stores.setdefault(target, Store())


class _Routine:
    """A run signature: what is fetched and fed, parsed, and the function that computes it.

    Attributes:
        feeds: the fed tensors, in the order in which their values are given.
        fetches: the parsed fetches.
        function: computes those fetched tensors that are not fed themselves.
    """

    def __init__(self, graph: Graph, fetches: Fetches, feeds: Sequence[Tensor]) -> None:
        self.changes = graph.changes
        self.fetches = fetches
        self.feeds = tuple(feeds)
        places = {t: i for i, t in enumerate(feeds)}
        self.computed = [t for t in fetches.tensors if t not in places]
        # For each fetched tensor where it is found: a computed result, or (counted from -1 down) a feed.
        found = {t: i for i, t in enumerate(self.computed)}
        self._places = [found[t] if t in found else -1 - places[t] for t in fetches.tensors]
        self._has_fed = any(i < 0 for i in self._places)
        self.function = Function(graph, feeds, self.computed, fetches.operations)
        self._check_fed()

    def _check_fed(self) -> None:
        missing = [op for op in self.function.outline.order if op.type in _PLACEHOLDERS]
        if missing:
            wanted = [*(t.op for t in self.computed), *self.fetches.operations]
            raise missing_feeds(missing, wanted)

    @property
    def is_flat(self) -> bool:
        """Whether a tensor, an operation or a list of them is fetched, and nothing that is fed."""
        return self.fetches.flat is not None and not self._has_fed

    @property
    def form(self) -> Form:
        """How a shortcut hands over what is computed: as it is fetched or, where that is not flat, in a list."""
        if self.is_flat:
            return Form(tuple(self.fetches.flat or ()), self.fetches.is_list)
        return Form(tuple(range(len(self.computed))), is_list=True)

    def shortcuts(self) -> Shortcuts:
        """None yet."""
        return Shortcuts(self.feeds, None if self.is_flat else self.rebuilt)

    def rebuilt(self, results: Sequence[Any], feeds: Sequence[Any]) -> Any:
        """The user's structure of what was computed."""
        return self.fetches.build([results[i] if i >= 0 else feeds[-1 - i] for i in self._places])

    def results(self, values: Sequence[Any], owned: Sequence[bool], feeds: Sequence[Any]) -> Any:
        """The user's structure of results that are perhaps not the caller's own yet."""
        return self.rebuilt([fetched(v, o) for v, o in zip(values, owned)], feeds)


class BaseSession:
    """Runs a graph and keeps its variables.

    Args:
        target: "" for a session of its own; sessions with the same other target share their state.
        graph: the graph to run; the default graph by default.
        config: a ConfigProto; `operation_timeout_in_ms` and `intra_op_parallelism_threads` are obeyed, devices are
            accepted.
        backend: "native" or "numpy"; see `tahr.backends.choice.executor`. TensorFlow has no such argument.
        tier: "reference" or "compiled" for all runs; by default the first run of a signature is interpreted and later
            ones are compiled.

    Raises:
        TypeError: `graph` is no Graph, or `target` no string.
        ValueError: there is no such backend or tier.
    """

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: Any = None,
        *,
        backend: str | None = None,
        tier: str | None = None,
    ) -> None:
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, but got {type(graph)}")
        if isinstance(target, bytes):
            target = target.decode()
        if not isinstance(target, str):
            raise TypeError(f"target must be a string, but got {type(target)}")
        self._graph = scopes.get_default_graph() if graph is None else graph
        self._target = target
        self._timeout_in_ms: int = getattr(config, "operation_timeout_in_ms", 0)
        self._store = shared_store(target) if target else Store()
        threads: int = getattr(config, "intra_op_parallelism_threads", 0)
        self._executor = choice.executor(backend, tier, threads)
        self._known: dict[Any, Shortcuts] = {}
        self._shortcuts: dict[Any, Callable[..., Any]] = {}  # their `run`, where there is one
        self._has_shortcuts = self._executor.has_shortcuts
        self._closed = False
        self._runs: set[Run] = set()
        self._partial_runs: dict[str, PartialRun] = {}
        self._default: list[Any] = []

    @property
    def graph(self) -> Graph:
        """The graph that it runs."""
        return self._graph

    @property
    def sess_str(self) -> str:
        """The target."""
        return self._target

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    # ------------------------------------------------------------ running

    @is_boundary
    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Computes tensors and runs operations.

        Args:
            fetches: a tensor, operation, variable, name, or nested structure (list, tuple, named tuple, dict) of them.
            feed_dict: values for tensors: placeholders, or any other tensor, whose own computation is then left out.
            options: RunOptions; `timeout_in_ms` is obeyed.
            run_metadata: accepted.

        Returns:
            The structure of `fetches` with arrays for tensors and None for operations. The arrays are the caller's own.

        Raises:
            RuntimeError: the session is closed, or the graph is empty.
            TypeError, ValueError: a fetch or feed does not fit.
            tf.errors.OpError: an operation failed.
        """
        try:
            key = None
            if self._has_shortcuts and options is None and run_metadata is None:
                try:
                    kind = type(fetches)
                    items = fetches if kind is list or kind is tuple else (fetches,)
                    key = (*items, kind, self._graph.changes, *(feed_dict or ()))
                    shortcut = self._shortcuts.get(key)
                except TypeError:  # a nested structure, which cannot be hashed
                    key, shortcut = None, None
                if shortcut is not None:
                    found = shortcut(*feed_dict.values()) if feed_dict else shortcut()
                    if found is not NotImplemented:
                        return found
            return self._run_the_long_way(key, fetches, feed_dict, options)
        except Exception as error:
            hide_frames(error)
            raise

    def _run_the_long_way(self, key: Any, fetches: Any, feed_dict: Any, options: Any) -> Any:
        """Runs, and keeps a shortcut for what has a key."""
        keys, given = self._parse_feeds(feed_dict) if feed_dict else ((), ())
        routine = self._routine(fetches, keys)
        values = [feed_value(t, v) for t, v in zip(routine.feeds, given)]
        found = self._run_routine(routine, values, getattr(options, "timeout_in_ms", 0) or 0)
        if key is not None and not _is_nested(fetches):
            self._remember(key, routine, values, given)
        return found

    def _remember(self, key: Any, routine: _Routine, values: Sequence[Any], given: Sequence[Any]) -> None:
        """Keeps a quicker way to do the same again, where there is one.

        Args:
            key: what is fetched, the state of the graph, and the keys of what is fed.
        """
        if key[~len(given)] != routine.changes:
            return  # a key of the feeds stood for several tensors
        keys = key[len(key) - len(given) :]
        if [t for k in keys for t in feed_tensors(self._graph, k)] != list(routine.feeds):
            return  # another thread has changed the dictionary
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MAX_ROUTINES:
                self._known.clear()
                self._shortcuts.clear()
            known = self._known[key] = routine.shortcuts()
        self._extend(known, routine, values, given)
        if known.run is not None:
            self._shortcuts[key] = known.run

    def _extend(
        self, known: Shortcuts, routine: _Routine, values: Sequence[Any], given: Sequence[Any]
    ) -> None:
        """Sees to it that there is a shortcut to run a routine again, where there can be one.

        Args:
            known: those there are.
            routine: what runs.
            values, given: the feeds as arrays, and as the user gave them.
        """
        if self._has_shortcuts and not known.has(values, given):
            check = None if self._timeout_in_ms else self._check
            found = self._executor.shortcut(routine.function, values, self._store, routine.form, check)
            if found is not None:
                known.add(values, found)

    def _check(self) -> None:
        """Raises where a run shall not go on, as the session was closed."""
        if self._closed:
            raise errors.CancelledError(None, None, "Run call was cancelled")

    def _run_routine(self, routine: _Routine, values: list[Any], timeout_in_ms: int = 0) -> Any:
        run = self._begin(timeout_in_ms)
        try:
            with np.errstate(all="ignore"), denormals.FLUSHED:
                found, owned = self._executor.call(routine.function, values, run)
        finally:
            self._runs.discard(run)
        return routine.results(found, owned, values)

    def _begin(self, timeout_in_ms: int = 0) -> Run:
        """A new run; closing the session cancels it."""
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        timeout_in_ms = timeout_in_ms or self._timeout_in_ms
        run = Run(self._store, time.monotonic() + timeout_in_ms / 1000 if timeout_in_ms > 0 else None)
        self._runs.add(run)
        return run

    def _parse_feeds(self, feed_dict: Any) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        if not isinstance(feed_dict, Mapping):
            raise TypeError(f"feed_dict must be a dictionary, got {type(feed_dict).__name__}")
        tensors: list[Tensor] = []
        values: list[Any] = []
        twice = False
        for key, value in list(feed_dict.items()):  # another thread may change it
            if (
                type(key) is Tensor
                and key.op.graph is self._graph
                and key.op.region is None
                and key not in self._graph.unfeedable
            ):
                tensors.append(key)
                values.append(value)
                continue
            expand = getattr(key, "feed_components", None)
            if expand is not None:
                for tensor, part in expand(value):
                    tensors.append(tensor)
                    values.append(part)
                continue
            if isinstance(key, IndexedSlices):
                key = [part for part in (key.values, key.indices, key.dense_shape) if part is not None]
                value = [part for part in value if part is not None]
            twice = True
            tensors += feed_tensors(self._graph, key)
            values += _flatten_like(key, value)
        if twice:  # perhaps one tensor is named in several ways: the last one counts
            last = dict(zip(tensors, values))
            tensors, values = list(last), list(last.values())
        return tuple(tensors), tuple(values)

    def _routine(self, fetches: Any, feeds: tuple[Tensor, ...]) -> _Routine:
        graph = self._graph
        try:
            kind = type(fetches)
            key = (kind, tuple(fetches) if kind is list or kind is tuple else fetches, feeds)
            routine = graph.routines.get(key)
        except TypeError:  # a nested structure, which cannot be hashed
            key, routine = None, None
        if routine is not None and routine.changes == graph.changes:
            return routine
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        if not graph.version:
            raise RuntimeError(
                "The Session graph is empty. Add operations to the graph before calling run()."
            )
        parsed = Fetches(graph, fetches)
        # Nested fetches share the function of the same flat ones, so that nothing is planned twice.
        flat_key = ("flat", tuple(parsed.tensors), tuple(parsed.operations), feeds)
        routine = graph.routines.get(flat_key)
        if routine is not None and routine.changes == graph.changes:
            routine = _with_fetches(routine, parsed)
        else:
            routine = _Routine(graph, parsed, feeds)
        if len(graph.routines) >= MAX_ROUTINES:
            graph.routines.clear()
        graph.routines[flat_key] = routine
        # A named tuple equals a plain one of the same items, so a structure within the structure is no key.
        if key is not None and not _is_nested(fetches):
            graph.routines[key] = routine
        return routine

    def explain(self, fetches: Any, feed_dict: Any = None, time: bool = False) -> Explanation:
        """How `run` does the same: kernels with the lines that they stand for, and what is left to NumPy, and why.

        TensorFlow has no such method.

        Args:
            fetches: as in `run`.
            feed_dict: as in `run`; without `time`, only dtypes and shapes count.
            time: whether to measure, by a few runs. They are real ones: variables change, and queues give what they
                have.

        Returns:
            A table, as text; its attributes have the numbers. Without `time` nothing is run (but kernels are compiled),
            and of a program whose shapes depend on data only the beginning is known.

        Raises:
            RuntimeError: the session is closed, or the graph is empty.
            TypeError, ValueError: a fetch or feed does not fit.
        """
        return explaining.explain(self, fetches, feed_dict, time)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function that runs `fetches`; its arguments are the values of the tensors in `feed_list`.

        Args:
            fetches: as in `run`.
            feed_list: the tensors that are fed.
            accept_options: whether the function also takes `options` and `run_metadata`.

        Raises:
            TypeError: `feed_list` is no list.
        """
        if feed_list is not None and not isinstance(feed_list, (list, tuple)):
            raise TypeError("`feed_list` must be a list or tuple.")
        feeds = tuple(t for key in feed_list or () for t in feed_tensors(self._graph, key))
        routine = self._routine(fetches, feeds)
        known = routine.shortcuts()

        @is_boundary
        def call(*args: Any, options: Any = None, run_metadata: Any = None) -> Any:
            try:
                run = known.run
                is_known = routine.changes == self._graph.changes
                if run is not None and is_known and options is None and self._has_shortcuts:
                    found = run(*args)
                    if found is not NotImplemented:
                        return found
                return call_the_long_way(args, options)
            except Exception as error:
                hide_frames(error)
                raise

        def call_the_long_way(args: Sequence[Any], options: Any) -> Any:
            nonlocal routine, known
            if routine.changes != self._graph.changes:
                routine = self._routine(fetches, feeds)
                known = routine.shortcuts()
            if len(args) != len(feeds):
                raise ValueError(f"Expected {len(feeds)} feed values, got {len(args)}")
            values = [feed_value(t, v) for t, v in zip(feeds, args)]
            found = self._run_routine(routine, values, getattr(options, "timeout_in_ms", 0) or 0)
            self._extend(known, routine, values, args)
            return found

        return call

    # ------------------------------------------------------------ partial runs

    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] | None = None) -> str:
        """Prepares a run in several steps.

        Args:
            fetches: all that will be fetched.
            feeds: all that will be fed: a list of tensors.

        Returns:
            The handle that `partial_run` takes.

        Raises:
            RuntimeError: the session is closed.  TypeError: a feed cannot be fed.
            InvalidArgumentError: there is nothing to fetch, or a placeholder that is needed is not among the feeds.
        """
        keys = tuple(t for key in feeds or () for t in feed_tensors(self._graph, key))
        routine = self._routine(fetches, keys)
        if not routine.fetches.tensors and not routine.fetches.operations:
            raise errors.InvalidArgumentError(
                None, None, "Must specify at least one target to fetch or execute."
            )
        handle = f"partial_run_{next(_handles)}"
        self._partial_runs[handle] = PartialRun(self._executor, routine)
        return handle

    def partial_run(self, handle: str, fetches: Any, feed_dict: Any = None) -> Any:
        """Goes on with a run in several steps: feeds some values, and fetches what they allow.

        What was computed in an earlier step is not computed again.

        Args:
            handle: what `partial_run_setup` returned.
            fetches: some of the fetches that were declared, each once.
            feed_dict: values for some of the feeds that were declared, each once.

        Returns:
            The structure of `fetches`, as `run` does.

        Raises:
            InvalidArgumentError: a fetch or feed was not declared, or occurs for the second time; a fetch cannot be
                computed yet; or the handle is unknown, or everything was fed and fetched.
        """
        partial = self._partial_runs.get(handle)
        if partial is None:
            raise errors.InvalidArgumentError(None, None, "Must run 'setup' before performing partial runs!")
        keys, given = self._parse_feeds(feed_dict or {})
        parsed = Fetches(self._graph, fetches)
        feeds = {t: feed_value(t, v) for t, v in zip(keys, given)}
        run = self._begin()
        try:
            with np.errstate(all="ignore"), denormals.FLUSHED:
                values = partial.step(run, parsed, feeds)
        finally:
            self._runs.discard(run)
        if partial.is_over:
            del self._partial_runs[handle]
        return parsed.build([fetched(v, is_own=False) for v in values])

    def list_devices(self) -> list[Any]:
        """The devices: none are told apart."""
        return []

    # ------------------------------------------------------------ life

    def close(self) -> None:
        """Ends the session: runs that wait are cancelled, further runs raise RuntimeError."""
        self._closed = True
        self._has_shortcuts = False
        for run in list(self._runs):
            run.cancelled = True
        if not self._target:
            self._store.close()

    def as_default(self) -> _AsDefault:
        """A context manager that makes this the default session (and leaves the default graph as it is)."""
        return _AsDefault(self)

    def __enter__(self) -> Any:
        managers = (self._graph.as_default(), self.as_default())
        for manager in managers:
            manager.__enter__()
        self._default.append(managers)
        return self

    def __exit__(self, *exc: Any) -> None:
        for manager in reversed(self._default.pop()):
            manager.__exit__(*exc)
        self.close()


class Session(BaseSession):
    """Runs a graph and keeps its variables; as a context manager it is the default session, and closes at the end."""

    @staticmethod
    def reset(target: str, containers: Any = None, config: Any = None) -> None:
        """Forgets the state that sessions on `target` share."""
        _shared_stores.pop(target, None)


class InteractiveSession(BaseSession):
    """A session that is the default one from its making until it is closed.

    Args:
        target: as for Session.
        graph: as for Session.
        config: as for Session.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None) -> None:
        super().__init__(target, graph, config)
        self._is_default = True
        self._graph_manager = graph.as_default() if graph is not None else None
        if self._graph_manager is not None:
            self._graph_manager.__enter__()
        stack.sessions.append(self)

    def close(self) -> None:
        """Ends the session; it is the default one no longer."""
        super().close()
        if self._is_default:
            self._is_default = False
            if self in stack.sessions:
                stack.sessions.remove(self)
            if self._graph_manager is not None:
                self._graph_manager.__exit__(None, None, None)


class _AsDefault:
    def __init__(self, session: BaseSession) -> None:
        self._session = session

    def __enter__(self) -> BaseSession:
        stack.sessions.append(self._session)
        return self._session

    def __exit__(self, *exc: object) -> None:
        if not stack.sessions or stack.sessions[-1] is not self._session:
            raise AssertionError(f"Nesting violated for default stack of {type(self._session)} objects")
        stack.sessions.pop()


def _with_fetches(routine: _Routine, fetches: Fetches) -> _Routine:
    """The same function, for another structure of the same fetches."""
    other = object.__new__(_Routine)
    other.__dict__.update(routine.__dict__)
    other.fetches = fetches
    return other


def _is_nested(fetches: Any) -> bool:
    return isinstance(fetches, (list, tuple)) and any(isinstance(item, tuple) for item in fetches)


def _flatten_like(key: Any, value: Any) -> list[Any]:
    """The parts of a fed value that belong to the tensors of a nested key."""
    if not isinstance(key, (list, tuple)):
        return [value]
    if not isinstance(value, (list, tuple)) or len(key) != len(value):
        given = f"{len(value)} values" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
        raise ValueError(f"Cannot feed {given} for {len(key)} tensors: {', '.join(map(str, key))}")
    return [part for k, v in zip(key, value) for part in _flatten_like(k, v)]


__all__ = ["BaseSession", "InteractiveSession", "Session", "errors", "shared_store"]
