"""Lines of a requirements file that nothing takes, and those that are left to pip and uv."""

import pytest
from failure_table import assert_told

from penstock.errors import ClientFailure
from penstock.runner.requirements import check_text


@pytest.mark.parametrize(
    "line", ["numpy=>1", "numpy = 1.0", "numpy 1.0", "import numpy", "numpy==", "!", "a,b"]
)
def test_nonsense_is_told_by_its_line(line):
    with pytest.raises(ClientFailure, match=r"Line 2 of requirements\.txt, '.*', is no requirement"):
        check_text(f"iniconfig\n  {line}  # why\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "numpy",
        "numpy==1.2,<2 # good",
        "numpy>=1.0,!=1.1 ; python_version < '3.12'",
        "numpy[extra, other]~=1.0",
        "numpy (>=1.0)",
        "numpy==1!2.0+local",
        "numpy \\\n  ==1.0 \\\n ; python_version > '3'",
        "numpy==1.0 \\\n    --hash=sha256:aa",
        "./package",
        ".",
        "package.whl",
        "name @ https://x/y.whl",
        "git+https://x/y",
        "${PACKAGE}",
        "-r other.txt",
        "--index-url https://x/simple",
        "\ufeffnumpy",
    ],
)
def test_what_pip_or_uv_may_take_is_left_to_them(text):
    check_text(text.encode())


def test_other_encodings_are_left_to_pip_when_they_are_declared():
    check_text("numpy".encode("utf-16"))
    check_text(b"# -*- coding: latin-1 -*-\n# \xe9\nnumpy\n")
    with pytest.raises(ClientFailure) as caught:
        check_text(b"\xe9")
    assert_told("requirements.txt is not UTF-8", caught.value.reason)
