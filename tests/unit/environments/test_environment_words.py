"""What the user is told of a build: progress, what requirements change, where packages come from."""

import io

import pytest

from penstock.environments import conflicts as checking
from penstock.environments.conflicts import conflicts, replaced
from penstock.environments.requirements import _options, _with_hashes
from penstock.environments.uv import UvError, _listen

SAID = """\
Using Python 3.11.7 environment at: v
Resolved 7 packages in 69ms
Downloading scipy (33.7MiB)
Downloading numpy (17.4MiB)
 Downloaded numpy
 Downloaded scipy
Prepared 7 packages in 683ms
Installed 7 packages in 43ms
Bytecode compiled 2105 files in 6.07s
 + numpy==1.26.4
"""


def test_downloads_are_counted(tmp_path):
    told, kept = [], []
    _listen(io.StringIO(SAID), tmp_path, kept, told.append)
    assert told == [
        "Downloading scipy (33.7MiB)",
        "Downloading numpy (17.4MiB)",
        "Downloaded numpy (17.4MiB): 1 of 2",
        "Downloaded scipy (33.7MiB): 2 of 2",
        "Prepared 7 packages in 683ms",
        "Bytecode compiled 2105 files in 6.07s",
    ]
    assert kept == ["+ numpy==1.26.4"]


def test_what_requirements_replace_is_named():
    assert replaced(
        "requirements.txt", {"numpy": "1.24.1", "six": "1"}, {"numpy": "2.0", "six": "1", "x": "1"}
    ) == ["requirements.txt replaces numpy 1.24.1 of the environment by 2.0"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Found 1 incompatibility The package `scikit-learn` requires `numpy<2`, but `2.0` is installed",
            ["with r.txt, scikit-learn may not work: it requires numpy<2, and 2.0 is installed"],
        ),
        (
            "The package `pandas` requires `pytz>=2020.1`, but it's not installed",
            ["with r.txt, pandas may not work: it requires pytz>=2020.1, and that is not installed"],
        ),
        (None, []),
    ],
)
def test_what_no_longer_fits_together_is_named(tmp_path, monkeypatch, said, told):
    def uv(*_, **__):
        if said is not None:
            raise UvError(said, unsatisfiable=False)

    monkeypatch.setattr(checking, "uv", uv)
    assert conflicts("r.txt", tmp_path / "venv", hold=0, cancelled=lambda: False) == told


def test_where_packages_come_from_is_handed_on_to_the_installation(tmp_path):
    content = "-i https://u:p@h/simple\nsix # why\n\0--extra-index-url=https://other/\n--pre\n-f wheels\n--no-index\n"
    assert _options(content, tmp_path).splitlines() == [
        "-i https://u:p@h/simple",
        "--extra-index-url=https://other/",
        f"--find-links {(tmp_path / 'wheels').as_uri()}",
        "--no-index",
    ]
    assert _options("six\n", tmp_path) == ""


def test_hashes_are_those_of_the_lock():
    lock = (
        "six==1.16.0 ; python_version < '3.13' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "six==1.17.0 ; python_version >= '3.13' \\\n    --hash=sha256:cc\n"
    )
    compiled = {"six": "six==1.16.0 \\\n    --hash=sha256:ee\n"}
    assert _with_hashes(compiled, lock) == {
        "six": "six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    }
