"""Names of images as engines take them."""

import pytest

from penstock.images.references import is_reference

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    "text",
    [
        "mine",
        "mine:1",
        "team/mine_x/a--b:v1.0-Rc_1",
        "localhost:5000/mine",
        "Registry.Example/mine",
        "[::1]:5000/mine:1",
        "000000000000.dkr.ecr.us-east-1.amazonaws.com/mine:latest",
        f"registry.example/mine:1@{DIGEST}",
        "0f" * 32,
        DIGEST,
    ],
)
def test_names(text):
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mine",
        "mine:",
        "mine:-x",
        "../x",
        "a//b",
        "a/../b",
        "/a",
        "a b",
        "mine\n",
        "dir:/etc",
        "mine@sha256:12",
        "-x",
    ],
)
def test_others(text):
    assert not is_reference(text)


def test_a_long_one_takes_no_time():
    assert not is_reference("a-" * 5000 + "!")
