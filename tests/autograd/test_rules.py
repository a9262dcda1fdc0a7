"""Every row of the tables of derivatives, over shapes, broadcasts, dtypes, strides and options."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rule_checks import check_forward_and_backward, check_second_order
from rule_rows import ROWS

from minillm.autograd.rules import COMPOSED, RULES

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
slow_to_draw = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_every_rule_is_declared():
    declared = {key for row in ROWS for key in row.keys}
    known = {*RULES, *COMPOSED}
    assert not known - declared, "declare these in rows_*.py"
    assert not declared - known, "these have no rule"


@each_row
@settings(deadline=None, max_examples=60, suppress_health_check=slow_to_draw)
@given(data=st.data())
def test_forward_and_backward(row, data):
    check_forward_and_backward(row, data.draw(row.cases))


@each_row
@settings(deadline=None, max_examples=15, suppress_health_check=slow_to_draw)
@given(data=st.data())
def test_second_order(row, data):
    check_second_order(row, data.draw(row.cases))
