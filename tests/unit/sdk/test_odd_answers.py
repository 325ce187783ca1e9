"""What the local server answers when it can't, or what somebody else answers in its place."""

from dataclasses import replace

import pytest
from stranger import stranger

from penstock.client import record
from penstock.errors import PenstockError, ServerUnavailable


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b'{"message": "a moment"}'), (500, b""), (200, b"<html>"), (502, b"<html>"), (200, b"[]")],
)
def test_who_waits_goes_on_waiting(address, status, body):
    with (
        stranger(status, body) as endpoint,
        record.News(replace(address, endpoint=endpoint), "job") as news,
        pytest.raises(
            ServerUnavailable,
            match=f"can't answer now: status {status}{': a moment' if b'moment' in body else ''}$",
        ),
    ):
        news.next(0)


def test_a_refusal_is_one(address):
    with stranger(400, b'{"message": "no such job"}') as endpoint:
        with pytest.raises(PenstockError, match="no such job") as caught:
            record.fetch(replace(address, endpoint=endpoint), "job")
        assert not isinstance(caught.value, ServerUnavailable)
