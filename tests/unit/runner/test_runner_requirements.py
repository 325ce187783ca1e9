"""What a job's script would install, found in its code beforehand."""

import io
import random
import tarfile

import pytest

from penstock.client.source import start_script
from penstock.environments.model import never
from penstock.errors import ClientFailure
from penstock.runner import requirements

OURS = start_script("main.py", ["python"])
#: The part that matters of the scripts of SageMaker's SDK v2 and v3.
V2 = "set -e\nif [[ -f 'requirements.txt' ]]; then\n  python -m pip install -r requirements.txt\nfi\n"
V3 = "if [[ -f 'reqs/dev.txt' ]]; then\n  python3 /opt/install_requirements.py reqs/dev.txt\nfi\n"
REQUEST = {
    "AppSpecification": {
        "ContainerEntrypoint": ["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"]
    }
}


@pytest.fixture
def told():
    return []


@pytest.fixture
def find(tmp_path, told):
    """Find the requirements of a job with these files in its archive, and this script."""

    def find(files, script=V2, request=REQUEST):
        code = tmp_path / "ml/processing/input"
        for name in ("code", "entrypoint"):
            (code / name).mkdir(parents=True, exist_ok=True)
        (code / "entrypoint/runproc.sh").write_text(script)
        if files is not None:
            data = files if isinstance(files, bytes) else archive(files)
            (code / "code/sourcedir.tar.gz").write_bytes(data)
        return requirements.find(
            request, tmp_path / "ml", work=tmp_path / "work", python="3.11.7", note=told.append, due=never
        )

    return find


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_they_are_found_with_the_files_that_they_name(find, tmp_path):
    found = find(
        {"requirements.txt": b"-r more.txt\n", "./more.txt": b"six\n", "sub/requirements.txt": b"no"}
    )
    saved = found.save(tmp_path / "saved")
    assert saved.read_bytes() == b"-r more.txt\n"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["more.txt", "requirements.txt"]
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    ("files", "contained"),
    [
        ({"requirements.txt": b"six\n", "notes.txt": b"./not a requirement\n"}, True),
        ({"requirements.txt": b"-r more.txt\n", "more.txt": b"six\n"}, True),
        ({"requirements.txt": b"-r more.txt\n", "more.txt": b"./local\n"}, False),
        ({"requirements.txt": b"-r sub/more.txt\n"}, False),
        ({"requirements.txt": b"./local\n"}, False),
    ],
)
def test_only_what_comes_from_an_index_is_installed_beforehand(find, files, contained):
    assert find(files).self_contained is contained


def test_only_the_sdks_own_script_installs_them(find):
    for entrypoint in (["python3", "x.py"], []):
        request = {"AppSpecification": {"ContainerEntrypoint": entrypoint}}
        assert find({"requirements.txt": b"six\n"}, request=request) is None


def test_there_may_be_none(find):
    assert find(None) is None
    assert find({"other.txt": b""}) is None


@pytest.mark.parametrize("ours", [True, False])
def test_a_script_may_name_another_file_and_what_lies_beside_it(find, tmp_path, ours):
    script = start_script("main.py", ["python"], requirements="reqs/dev.txt") if ours else V3
    files = {"requirements.txt": b"no", "reqs/dev.txt": b"-r base.in\n", "reqs/base.in": b"six\n"}
    found = find(files, script)
    assert (found.name, found.self_contained) == ("dev.txt", True)
    assert sorted(p.name for p in found.save(tmp_path / "saved").parent.iterdir()) == ["base.in", "dev.txt"]


def test_of_a_broken_archive_that_much_is_taken_as_tar_would_unpack(find, told):
    """The script's tar fails before the script minds failures: what it has unpacked by then is installed and run."""
    filler = random.Random(1).randbytes(1 << 17)
    whole = archive({"requirements.txt": b"six\n", "data.bin": filler, "x.py": b""})
    assert find(whole[: len(whole) // 2]).files == {"requirements.txt": b"six\n"}
    assert "can't be read to its end" in told[0]
    assert find(b"no archive") is None
    harmed = bytearray(whole)
    harmed[len(whole) // 2 :] = bytes(255 - one for one in harmed[len(whole) // 2 :])  # no valid stream
    assert find(bytes(harmed)).files == {"requirements.txt": b"six\n"}
    assert len(told) == 3


PROJECT = (
    b"[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.9,<4'\ndependencies = ['six', 'idna>=3']\n"
)


def test_a_project_counts_for_our_script_alone(find):
    assert find({"pyproject.toml": PROJECT}, V2) is None
    found = find({"pyproject.toml": PROJECT}, OURS)
    assert found.files == {"pyproject.toml.txt": b"six\nidna>=3\n"}
    assert (found.made, found.exact, found.self_contained) == (True, False, True)


def test_a_requirements_file_goes_before_a_project(find):
    found = find({"pyproject.toml": PROJECT, "requirements.txt": b"six\n"}, OURS)
    assert found.files == {"requirements.txt": b"six\n"}


@pytest.mark.parametrize(
    "text", [b"[tool.ruff]\nline-length = 90\n", b"[project]\nname = 'x'\ndynamic = ['dependencies']\n"]
)
def test_a_file_without_dependencies_of_its_own_installs_nothing(find, told, text):
    assert find({"pyproject.toml": text}, OURS) is None
    assert told == [
        "pyproject.toml names no dependencies, or leaves them to its build: nothing is installed for it."
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[project\n", "pyproject.toml can't be read"),
        (b"[project]\ndependencies = 'six'\n", "no list of texts"),
        (
            b"[project]\nrequires-python = '>=3.12'\n",
            "requires Python >=3.12, and the environment has 3.11.7",
        ),
        (b"[project]\ndependencies = ['x @ git+https://example.org/x']\n", "more than packages of an index"),
    ],
)
def test_a_project_that_can_not_be_is_told_as_such(find, text, words):
    with pytest.raises(ClientFailure, match=words):
        find({"pyproject.toml": text}, OURS)
