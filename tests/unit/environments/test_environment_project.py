"""Which Pythons a project takes."""

import pytest

from penstock.environments.project import dependencies
from penstock.errors import ClientFailure


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("", True),
        (">=3.9", True),
        (">=3.11.7", True),
        (">=3.11.8", False),
        (">3.11", False),
        ("<3.12", True),
        ("<3.11.7", False),
        ("<=3.11.7", True),
        ("==3.11.*", True),
        ("==3.10.*", False),
        ("==3.11.7", True),
        ("!=3.11.*", False),
        ("!=3.11.3", True),
        ("~=3.9", True),
        ("~=3.11.2", True),
        ("~=3.10.2", False),
        (">=3.9, <3.11", False),
        ("something else", True),
    ],
)
def test_which_pythons_a_project_takes(tmp_path, wanted, fits):
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\nrequires-python = '{wanted}'\n")
    if fits:
        assert dependencies(tmp_path, "3.11.7") == ""
    else:
        with pytest.raises(ClientFailure, match="requires Python"):
            dependencies(tmp_path, "3.11.7")
