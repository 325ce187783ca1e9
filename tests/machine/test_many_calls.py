"""The drawn calls of `tests/unit/api/test_any_call.py`, by the thousand."""

import pytest
from drawn_calls import SPOILT, any_call, application, drawn, inputs, round_trip
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.many

MANY = drawn(30)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    made = application(tmp_path_factory.mktemp("many"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("service", "operation", "shape"), [pytest.param(s, o, i, id=f"{s}-{o}") for s, o, i in inputs()]
)
@MANY
@given(data=st.data())
def test_any_call_is_answered_as_the_model_says(client, service, operation, shape, data):
    any_call(client, data, service, operation, shape)


@settings(MANY, max_examples=150)
@given(data=st.data())
def test_what_create_takes_describe_tells(client, data):
    round_trip(client, data)


def test_they_are_thousands():
    assert len(list(inputs())) * MANY.max_examples * (1 + SPOILT) > 3000
