"""BLAS libraries compute with one thread where tahr asks for it, and as the user has set them everywhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from tahr.core import blas
from tahr.core.blas import AS_SET, ONE_THREAD

LIBRARY = blas.library()
if LIBRARY is None:
    pytest.skip("NumPy's BLAS library cannot be told how many threads to use", allow_module_level=True)
threads, set_threads = LIBRARY


@pytest.fixture(autouse=True)
def two_threads() -> Generator[None]:
    before = threads()
    set_threads(2)
    yield
    set_threads(before)


def test_inside_there_is_one_thread_and_afterwards_as_many_as_before() -> None:
    with ONE_THREAD:
        assert threads() == 1
        with ONE_THREAD:
            assert threads() == 1
        assert threads() == 1
    assert threads() == 2


def test_an_error_leaves_it_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), ONE_THREAD:
        raise ZeroDivisionError
    assert threads() == 2


def test_in_the_users_functions_it_is_as_the_user_has_set_it() -> None:
    with ONE_THREAD, ONE_THREAD:
        with AS_SET:
            assert threads() == 2
            with ONE_THREAD:  # a function that runs a session
                assert threads() == 1
                with AS_SET:
                    assert threads() == 2
            assert threads() == 2
        assert threads() == 1
    with AS_SET:  # nothing to do
        assert threads() == 2
    assert threads() == 2


def test_what_the_user_sets_meanwhile_stays() -> None:
    with ONE_THREAD:
        set_threads(3)
    assert threads() == 3


@contextmanager
def another_thread_inside() -> Generator[None]:
    is_inside, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with ONE_THREAD:
            is_inside.set()
            may_leave.wait(timeout=60)

    thread = threading.Thread(target=other)
    thread.start()
    is_inside.wait(timeout=60)
    try:
        yield
    finally:
        may_leave.set()
        thread.join()


def test_the_last_thread_that_leaves_restores_it() -> None:
    with ExitStack() as stack:
        with ONE_THREAD:
            stack.enter_context(another_thread_inside())
        assert threads() == 1
        with AS_SET:  # this thread is not inside
            assert threads() == 1
    assert threads() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have() -> None:
    with another_thread_inside():
        child = os.fork()
        if not child:
            os._exit(0 if threads() == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    with ONE_THREAD:
        child = os.fork()
        if not child:
            before = threads()
            ONE_THREAD.__exit__()
            os._exit(0 if (before, threads()) == (1, 2) else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert threads() == 2


def test_without_a_library_that_can_be_told_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "library", lambda: None)
    with ONE_THREAD:
        assert threads() == 2


def test_products_are_the_same_bits_whatever_the_user_has_set() -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((300, 700), (700, 200)))
    found: list[bytes] = []
    for count in (1, 2, 3):
        set_threads(count)
        with ONE_THREAD:
            found.append((a @ b).tobytes())
    assert found[0] == found[1] == found[2]
