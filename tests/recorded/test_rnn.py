"""Recurrent networks have TensorFlow's variables, values and gradients."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_rnn as cases
from tests.recorded.harness import assert_same, check, load_fixture, run_case


@pytest.mark.parametrize("name", cases.CASES)
def test_rnn(name: str) -> None:
    check(tf, cases.CASES, "rnn", name)


@pytest.mark.parametrize("name", cases.SECOND_ORDER)
def test_the_second_order_gradient_of_a_loop_is_that_of_its_steps(name: str) -> None:
    got = run_case(tf, cases.second_order(cases.CELLS[name], cases.in_a_loop))
    assert_same(got, load_fixture("rnn")[f"{name}_second_order"], where=name)
