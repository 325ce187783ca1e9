"""Framework -> URI -> what it names."""

import sys

import pytest

from penstock.errors import UnknownImage
from penstock.images.catalog import frameworks
from penstock.images.uris import Image, by_nearness, parse, parse_framework, retrieve

ECR = ".dkr.ecr.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    ("arguments", "uri"),
    [
        (("sklearn", "us-east-1", "1.2-1"), f"683313688378{ECR}sagemaker-scikit-learn:1.2-1-cpu-py3"),
        (
            ("sklearn", "us-east-1", "1.2-1", "py3", "local"),
            f"683313688378{ECR}sagemaker-scikit-learn:1.2-1-cpu-py3",
        ),
        (("xgboost", "us-east-1", "1.3-1"), f"683313688378{ECR}sagemaker-xgboost:1.3-1"),
        (("xgboost", "us-east-1", "0.90-1"), f"683313688378{ECR}sagemaker-xgboost:0.90-1-cpu-py3"),
        (
            ("pytorch", "us-east-1", "1.10", "py38", "ml.g5.xlarge"),
            f"763104351884{ECR}pytorch-training:1.10-gpu-py38",
        ),
        (
            ("pytorch", "us-east-1", "1.10", None, "ml.m5.large"),
            f"763104351884{ECR}pytorch-training:1.10-cpu-py38",
        ),
        (("pytorch", "us-east-1", "1.5", "py3", "ml_c5"), f"763104351884{ECR}pytorch-training:1.5-cpu-py3"),
        (
            ("pytorch", "us-east-1", "1.1.0", "py3", "local_gpu"),
            f"520713654638{ECR}sagemaker-pytorch:1.1.0-gpu-py3",
        ),
        (
            ("tensorflow", "us-east-1", "1.13.1", "py2", "ml.p3.2xlarge"),
            f"520713654638{ECR}sagemaker-tensorflow-scriptmode:1.13.1-gpu-py2",
        ),
        (
            ("tensorflow", "us-east-1", None, None, "local"),
            f"763104351884{ECR}tensorflow-training:2.19.0-cpu-py312",
        ),
        (("mxnet", "us-east-1", "1.9", None, "local"), f"763104351884{ECR}mxnet-training:1.9-cpu-py38"),
        (("spark", "us-east-1", "3.3"), f"173754725891{ECR}sagemaker-spark-processing:3.3-cpu"),
    ],
)
def test_retrieve_gives_the_address_that_the_official_sdk_gives(arguments, uri):
    assert retrieve(*arguments) == uri


def test_account_and_domain_follow_the_region():
    assert retrieve("sklearn", "us-west-2", "1.2-1").startswith(
        "246618743249.dkr.ecr.us-west-2.amazonaws.com/"
    )
    assert retrieve("sklearn", "cn-north-1", "1.2-1").endswith(
        ".dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-scikit-learn:1.2-1-cpu-py3"
    )


def test_without_a_region_it_is_the_local_server_s(monkeypatch):
    monkeypatch.delenv("PENSTOCK_REGION", raising=False)
    assert retrieve("sklearn", None, "1.2-1") == retrieve("sklearn", "us-east-1", "1.2-1")
    monkeypatch.setenv("PENSTOCK_REGION", "eu-west-1")
    assert retrieve("sklearn", None, "1.2-1") == retrieve("sklearn", "eu-west-1", "1.2-1")


def test_the_nearest_framework_is_named_first():
    with pytest.raises(ValueError, match=r"the nearest first: pytorch, "):
        retrieve("torch", "us-east-1")


def test_py3_stands_for_the_python_3_that_a_version_has():
    uri = retrieve("pytorch", "us-east-1", "1.10", "py3", "ml.g5.xlarge")
    assert uri.endswith("pytorch-training:1.10-gpu-py38")


@pytest.mark.parametrize("base", ["pytorch1.13.1", "pytorch1.13"])
def test_huggingface_tags_keep_both_versions_as_typed(base):
    uri = retrieve("huggingface", "us-east-1", "4.26", "py39", "ml.p3.2xlarge", base_framework_version=base)
    typed = base.removeprefix("pytorch")
    assert uri.endswith(f"huggingface-pytorch-training:{typed}-transformers4.26-gpu-py39-cu117-ubuntu20.04")
    assert parse(uri) == Image("huggingface", "4.26", "py39", "gpu", ("pytorch", typed))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("sklearn", "us-east-1", "1.3-1"),
            (
                "Unsupported sklearn version: 1.3-1. This version of Penstock does not know it; a newer one may. "
                "Supported sklearn version(s), the nearest first: 1.2-1, 1.4-2, 1.4-2-py312, 1.0-1,"
            ),
        ),
        (("sklearn", "us-east-1", "1.2-1", "py3", "ml.p3.2xlarge"), "Unsupported processor: gpu."),
        (("huggingface", "us-east-1", "4.26.0", "py39", "ml.m5.large"), "Unsupported base framework: None."),
        (("tensorflow", "us-east-1", "2.4.1", "py38", "ml.m5.large"), "Unsupported Python version: py38."),
        (("pytorch", "us-east-1", "1.10"), "Empty SageMaker instance type."),
        (("pytorch", "us-east-1", "1.10", None, "m5.large"), "Invalid SageMaker instance type: m5.large."),
        (("pytorch", "us-east-1", "1.10", None, "ml.trn1.xlarge"), "Unsupported processor: trn."),
        (("scikit", "us-east-1", "1"), "Unsupported framework: scikit."),
    ],
)
def test_what_is_not_supported_is_said_with_what_is(arguments, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared below
        retrieve(*arguments)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("uri", "image"),
    [
        ("sagemaker-scikit-learn:1.2-1-cpu-py3", Image("sklearn", "1.2-1", None, "cpu")),
        ("sagemaker-scikit-learn:0.20.0-cpu-py3", Image("sklearn", "0.20.0", None, "cpu")),
        ("sagemaker-scikit-learn:1.4-2-py312-cpu-py3", Image("sklearn", "1.4-2-py312", None, "cpu")),
        ("1.dkr.ecr.mars-1.amazonaws.com/sagemaker-xgboost:1.3-1", Image("xgboost", "1.3-1")),
        ("localhost:5000/team/sagemaker-xgboost:0.90-1-cpu-py3", Image("xgboost", "0.90-1", None, "cpu")),
        ("sagemaker-xgboost:1.7-1-1", Image("xgboost", "1.7-1")),
        ("pytorch-training:9.9.9-gpu-py399", Image("pytorch", "9.9.9", "py399", "gpu")),
        (
            "tensorflow-training:2.19.0-cpu-py312-ubuntu22.04-sagemaker",
            Image("tensorflow", "2.19.0", "py312", "cpu"),
        ),
        ("pytorch-training:1.10-gpu-py38@sha256:0123", Image("pytorch", "1.10", "py38", "gpu")),
        ("python:3.11", Image("python", "3.11")),
        ("docker.io/library/python:3.11.4-slim-bookworm", Image("python", "3.11")),
        ("penstock-python:3.12", Image("python", "3.12")),
    ],
)
def test_parse_reads_any_registry_and_newer_versions(uri, image):
    assert parse(uri) == image


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sagemaker-scikitlearn:1.2-1-cpu-py3", "did you mean 'sagemaker-scikit-learn'?"),
        ("ubuntu:22.04", "pytorch-training"),
        (
            "1.dkr.ecr.us-east-1.amazonaws.com/team/features:latest",
            "other images run in containers, by Docker or Podman. In their place, take",
        ),
        ("sagemaker-scikit-learn:newest", "sagemaker-scikit-learn:1.4-2-cpu-py3"),
        ("python:2.7", "python:3.11"),
        ("python", "python:3.11"),
        ("", "plain Python"),
    ],
)
def test_an_unknown_image_is_refused_with_what_there_is(uri, said):
    with pytest.raises(UnknownImage) as caught:
        parse(uri)
    assert said in str(caught.value)


def test_every_image_of_the_catalogue_is_parsed_back():
    for name, about in frameworks().items():
        for version, entry in about["versions"].items():
            for base, inner in entry.get("bases", {None: entry}).items():
                for python in inner.get("py") or [None]:
                    kind = "local_gpu" if "gpu" in about["processors"] else "local"
                    uri = retrieve(name, "us-east-1", version, python, kind, base_framework_version=base)
                    image = parse(uri)
                    assert (image.framework, image.version) == (name, version)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("sklearn==1.2-1", "/sagemaker-scikit-learn:1.2-1-cpu-py3"),
        (" pytorch == 1.10 ", "/pytorch-training:1.10-cpu-py38"),
        ("xgboost", "/sagemaker-xgboost:3.2-0"),
        (
            "huggingface==4.17.0",
            "/huggingface-pytorch-training:1.10.2-transformers4.17.0-gpu-py38-cu113-ubuntu20.04",
        ),
        (
            "huggingface==4.17+tensorflow2.6.3",
            "-tensorflow-training:2.6.3-transformers4.17-gpu-py38-cu112-ubuntu20.04",
        ),
        ("spark==3.3", "/sagemaker-spark-processing:3.3-cpu"),
    ],
)
def test_a_framework_on_the_command_line(text, end):
    assert parse_framework(text).endswith(end)


def test_plain_python_on_the_command_line():
    assert parse_framework("python==3.12") == "penstock-python:3.12"


@pytest.mark.parametrize(
    ("text", "said"), [("sklern==1", "did you mean 'sklearn'?"), ("sklearn==9", "1.2-1")]
)
def test_an_unknown_framework_on_the_command_line(text, said):
    with pytest.raises(UnknownImage) as caught:
        parse_framework(text)
    assert said in str(caught.value)


def test_the_sdk_gets_nothing_but_the_standard_library(tmp_path):
    import subprocess

    code = (
        "import sys; before = set(sys.modules); import penstock.images.uris, penstock.images.contents;"
        "print({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "{'penstock'}"


def test_no_image_is_suggested_that_only_looks_a_little_alike():
    with pytest.raises(UnknownImage) as caught:
        parse("my-own:latest")
    assert "did you mean" not in str(caught.value)
    assert "spark" not in str(caught.value)  # its images are known, but have no environment


def test_of_versions_that_are_all_lower_or_higher_the_next_one_is_nearest():
    options = ["1.2", "2.0", "2.8", "2.8.1", "2.5"]
    assert by_nearness("9", options)[:4] == ["2.8", "2.8.1", "2.5", "2.0"]
    assert by_nearness("2.6", options)[:3] == ["2.5", "2.8", "2.8.1"]
    assert by_nearness("0.9", options)[:2] == ["1.2", "2.0"]
