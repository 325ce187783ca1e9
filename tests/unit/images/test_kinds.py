import pytest

from penstock.images.kinds import in_container, wanted

ECR = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


def request(uri, tag=None):
    tags = [{"Key": "penstock:runtime", "Value": tag}] if tag else []
    return {"AppSpecification": {"ImageUri": uri}, "Tags": tags}


@pytest.mark.parametrize(
    ("uri", "container"),
    [
        (f"{ECR}/sagemaker-scikit-learn:1.2-1-cpu-py3", False),
        (f"{ECR}/sagemaker-scikit-learn:no-such-tag", False),  # refused with the nearest, not pulled
        (f"{ECR}/sagemaker-spark-processing:3.5-cpu-py39-v1", False),
        ("python:3.11", False),
        ("python:latest", True),
        ("python@sha256:1", True),
        (f"{ECR}/my-own:1", True),
        ("docker.io/library/debian:12", True),
    ],
)
def test_in_a_container_goes_what_the_catalogue_does_not_know(uri, container):
    assert in_container(request(uri), "auto") is container


@pytest.mark.parametrize(
    ("setting", "tag", "container"),
    [
        ("sandbox", None, False),
        ("container", None, True),
        ("sandbox", "container", True),
        ("container", "sandbox", False),
        ("auto", "sandbox", False),
    ],
)
def test_the_tag_wins_over_the_setting(setting, tag, container):
    assert in_container(request("mine:1", tag), setting) is container
    assert wanted(request("mine:1", tag)) == tag
