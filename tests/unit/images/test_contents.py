"""What the images are said to hold."""

import pytest

from penstock.errors import UnknownImage
from penstock.images.catalog import catalog, frameworks
from penstock.images.contents import contents
from penstock.images.uris import Image, framework_text, parse, parse_framework


def test_a_published_package_list_is_pinned():
    inside = contents(parse("sagemaker-scikit-learn:1.2-1-cpu-py3"))
    assert inside.python == "3.9"
    assert inside.framework == {"scikit-learn": "==1.2.1"}
    assert inside.packages["pandas"] == "==1.1.3"
    assert "scikit-learn" not in inside.packages
    assert not inside.notes


def test_an_alias_is_the_patch_version_that_it_stands_for():
    inside = contents(parse("pytorch-training:1.10-gpu-py38"))
    assert inside.framework == {"torch": "==1.10.2"}
    assert inside.python == "3.8"
    assert {"numpy", "pandas", "scikit-learn", "boto3"} <= inside.packages.keys()


def test_gpu_and_cpu_images_hold_the_same():
    assert contents(parse("pytorch-training:1.10-gpu-py38")) == contents(
        parse("pytorch-training:1.10-cpu-py38")
    )


def test_huggingface_holds_transformers_and_what_it_stands_on():
    inside = contents(
        parse("huggingface-tensorflow-training:2.6-transformers4.17-gpu-py38-cu112-ubuntu20.04")
    )
    assert inside.framework == {"transformers": "==4.17.0", "tensorflow": "==2.6.3"}
    assert "clang" in inside.sources
    assert inside.packages["protobuf"] == "<3.21"


def test_plain_python_holds_nothing():
    inside = contents(parse("python:3.12-slim"))
    assert (inside.python, dict(inside.framework), dict(inside.packages)) == ("3.12", {}, {})


@pytest.mark.parametrize(
    ("uri", "framework", "python"),
    [
        ("pytorch-training:2.9.1-cpu-py313", {"torch": "==2.9.1"}, "3.13"),
        ("pytorch-training:2.9-cpu-py313", {"torch": "==2.9.*"}, "3.13"),
        ("sagemaker-xgboost:4.0-2", {"xgboost": "==4.0.*"}, "3.10"),
        ("sagemaker-scikit-learn:1.7-1-py313-cpu-py3", {"scikit-learn": "==1.7.*"}, "3.13"),
    ],
)
def test_a_version_newer_than_the_catalogue_is_taken_at_its_word(uri, framework, python):
    inside = contents(parse(uri))
    assert inside.framework == framework
    assert inside.python == python
    assert "does not know" in inside.notes[0]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image("spark", "3.3", None, "cpu"), "Java"),
        (Image("tensorflow", "1.14.0", "py2", "cpu"), "Python 2"),
    ],
)
def test_what_can_not_be_had_is_refused_by_name(image, said):
    with pytest.raises(UnknownImage, match=said):
        contents(image)


def test_the_catalogue_is_consistent():
    for name, about in frameworks().items():
        assert set(about.get("aliases", {}).values()) <= set(about["versions"]), name
        for entry in about["versions"].values():
            for specifier in entry.get("packages", {}).values():
                assert specifier.startswith(("==", ">=", "<")), (name, specifier)
    for libraries in catalog()["eras"].values():
        assert {"numpy", "pandas", "scikit-learn", "boto3"} <= libraries.keys()


@pytest.mark.parametrize("framework", frameworks())
def test_every_family_names_its_sources(framework):
    sources = frameworks()[framework]["from"]
    assert any(one.startswith("https://github.com/aws/") for one in sources)


def test_spark_is_known_and_refused_with_what_to_do():
    for uri in ("sagemaker-spark-processing:3.3-cpu-py39-v1", "sagemaker-spark-processing:3.4-cpu"):
        with pytest.raises(UnknownImage, match=r"Penstock has no environment for spark images: .*pyspark"):
            contents(parse(uri))


def test_a_framework_text_leads_back_to_its_image():
    for uri in (
        "sagemaker-scikit-learn:1.2-1-cpu-py3",
        "pytorch-training:2.1-gpu-py310",
        "huggingface-tensorflow-training:2.6.3-transformers4.17.0-gpu-py38-cu112-ubuntu20.04",
        "python:3.11",
    ):
        image = parse(uri)
        again = parse(parse_framework(framework_text(image)))
        assert (again.framework, again.version, again.base) == (image.framework, image.version, image.base)
