"""A lock says what it said, and nothing but exact versions with hashes is taken for one."""

import pytest

from penstock.errors import ClientFailure
from penstock.job.lock import EnvironmentLock, decoded, sha256_of

PINS = (
    "numpy==1.24.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    "torch==2.1.0+cpu ; sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
)
LOCK = EnvironmentLock(PINS, "3.9.18", "sklearn==1.2-1", "Linux x86_64 glibc 2.36", "ab" * 32)
FIRST = "# Penstock environment lock 1\n"


def test_it_comes_back_as_it_went():
    assert EnvironmentLock.read(LOCK.text) == LOCK
    bare = EnvironmentLock("", "3.11.2")
    assert EnvironmentLock.read(bare.text).python == "3.11.2"
    assert bare.minor == "3.11"


def test_its_name_is_its_content():
    assert sha256_of(LOCK.text) == sha256_of(EnvironmentLock.read(LOCK.text).text)
    assert sha256_of(LOCK.text) != sha256_of(EnvironmentLock(PINS, "3.9.17").text)


def test_comments_and_ends_of_lines_of_other_systems_do_no_harm():
    text = LOCK.text.replace("\n", "\r\n") + "# checked by Jane\n\n"
    assert "numpy==1.24.1" in EnvironmentLock.read(text).pins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("numpy==1\n", "no lock"),
        ("", "no lock"),
        (f"{FIRST}numpy==1 --hash=sha256:aa\n", "which Python"),
        (f"{FIRST}# python: 2.7\n", "which Python"),
        (f"{FIRST}# python: 3.9.1\nnumpy==1.24.1\n", "'numpy==1.24.1'"),
        (f"{FIRST}# python: 3.9.1\nnumpy>=1 --hash=sha256:aa\n", "'numpy>=1'"),
        (f"{FIRST}# python: 3.9.1\n--index-url http://h/\n", "'--index-url http://h/'"),
        (f"{FIRST}# python: 3.9.1\nx @ http://h/x.whl --hash=sha256:aa\n", "'x @ http://h/x.whl'"),
        (f"{FIRST}# python: 3.9.1\n-r /etc/passwd\n", "exact versions with hashes only"),
        (f"{FIRST}# python: 3.9.1\nx==1 --hash=sha256:aa --config-settings a=b\n", "exact versions"),
        (f"{FIRST}# python: 3.9.1\nx==1 \\\n --hash=sha256:aa \\\n -e .\n", "exact versions"),
        (f"{FIRST}# python: 3.9.1\nx==1 ; python_version>'3' --pre --hash=sha256:aa\n", "exact versions"),
        (f"{FIRST}# python: 3.9.1\nx==1 ;{' ' * 900_000}/\n", "'x==1 ; /'"),
    ],
)
def test_what_is_no_lock_is_refused_by_its_line(text, words):
    with pytest.raises(ClientFailure) as caught:
        EnvironmentLock.read(text)
    assert words in str(caught.value)


def test_what_is_no_text_is_no_lock():
    with pytest.raises(ClientFailure, match="not UTF-8"):
        decoded(b"\xff\xfe")
    with pytest.raises(ClientFailure, match="NUL"):
        decoded(b"# Penstock environment lock 1\n# framework: \0\n")
