"""Whatever is sent, the answer is one that AWS's model knows: some hundred calls, of the thousands in `tests/machine`."""

import pytest
from drawn_calls import any_call, application, drawn, inputs, nul_in_a_text, round_trip
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = drawn(3)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    made = application(tmp_path_factory.mktemp("any"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("service", "operation", "shape"), [pytest.param(s, o, i, id=f"{s}-{o}") for s, o, i in inputs()]
)
@FEW
@given(data=st.data())
def test_any_call_is_answered_as_the_model_says(client, service, operation, shape, data):
    any_call(client, data, service, operation, shape)


@pytest.mark.parametrize(
    ("service", "operation", "shape"), [pytest.param(s, o, i, id=f"{s}-{o}") for s, o, i in inputs()]
)
@FEW
@given(data=st.data())
def test_no_text_with_a_nul_is_taken(client, service, operation, shape, data):
    """SQLite would keep it, and PostgreSQL can't: of two texts it would make the same one."""
    nul_in_a_text(client, data, service, operation, shape)


@settings(FEW, max_examples=15)
@given(data=st.data())
def test_what_create_takes_describe_tells(client, data):
    round_trip(client, data)
