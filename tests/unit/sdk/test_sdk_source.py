"""The archive, and the shell script: run for real by bash in a folder of the test's."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from penstock.client.source import PREPARED_VARIABLE, Source, pack, start_script

#: A `python` that writes down how it is called, and runs what is not pip.
PYTHON = """\
#!/bin/sh
echo "python $*" >> "$CALLS"
case "$*" in *pip*) exit "${PIP_EXIT:-0}" ;; *-c*) exec python3 "$@" ;; *) exec python3 "$@" ;; esac
"""


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar.getmembers()}


def test_a_script_alone(tree: Path) -> None:
    assert list(members(pack(Source("script.py")))) == ["script.py"]
    assert list(members(pack(Source(str(tree / "src/eval.py"))))) == ["eval.py"]


def test_a_folder_s_contents_and_dependencies_lie_at_the_root(tree: Path) -> None:
    (tree / "src/link.py").symlink_to(tree / "script.py")
    found = members(pack(Source("eval.py", "src", ("dep", "data/a.csv"))))
    assert list(found) == [
        "eval.py",
        "link.py",
        "requirements.txt",
        "sub",
        "sub/helper.py",
        "dep",
        "dep/more.py",
        "a.csv",
    ]
    assert found["link.py"].isreg()
    assert {(each.uid, each.gid, each.uname, each.gname) for each in found.values()} == {(0, 0, "", "")}


def test_equal_files_make_equal_bytes(tree: Path) -> None:
    first = pack(Source("eval.py", "src"))
    shutil.copytree("src", "copy")
    assert pack(Source("eval.py", "copy")) == first


def run(tree: Path, script: str, *args: str, **environment: str) -> tuple[int, str, list[str]]:
    """Run the shell script in a folder that stands for the job's. Returns exit code, stdout and python's calls."""
    job, tools, calls = tree / "job", tree / "tools", tree / "calls"
    job.mkdir()
    tools.mkdir()
    (tools / "python").write_text(PYTHON)
    (tools / "python").chmod(0o755)
    (job / "sourcedir.tar.gz").write_bytes(pack(Source("eval.py", "src")))
    done = subprocess.run(
        ["/bin/bash", "-c", script.replace("/opt/ml/processing/input/code/", f"{job}/"), "runproc.sh", *args],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, calls.read_text().splitlines() if calls.exists() else []


def test_the_script_installs_the_requirements_and_runs_the_program(tree: Path) -> None:
    (tree / "src/eval.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    code, out, calls = run(tree, start_script("eval.py", ["python"]), "a b", "c")
    assert code == 7
    assert out.splitlines()[-1] == "['a b', 'c']"
    assert calls == [
        "python -m pip uninstall --yes typing",
        "python -m pip install -r requirements.txt",
        "python eval.py a b c",
    ]


def test_a_failing_install_ends_the_job(tree: Path) -> None:
    code, _, calls = run(tree, start_script("eval.py", ["python"]), PIP_EXIT="3")
    assert code == 3
    assert not any("eval.py" in call for call in calls)


@pytest.mark.parametrize("prepared", [True, False])
def test_prepared_requirements_are_not_installed_again(tree: Path, prepared: bool) -> None:
    text = b"pandas\n" if prepared else b"something else\n"
    digest = hashlib.sha256(text).hexdigest()
    code, _, calls = run(tree, start_script("eval.py", ["python"]), **{PREPARED_VARIABLE: digest})
    assert code == 0
    assert ("python -m pip install -r requirements.txt" in calls) is not prepared


def test_without_sha256sum_python_counts(tree: Path) -> None:
    """Some images are that small: only what the script itself needs is on the PATH."""
    bare = tree / "bare"
    bare.mkdir()
    (bare / "python3").symlink_to(sys.executable)
    for name in ("bash", "sh", "tar", "gzip", "cut"):
        found = shutil.which(name)
        assert found is not None
        (bare / name).symlink_to(Path(found))
    script = start_script("eval.py", ["python"])
    digest = hashlib.sha256(b"pandas\n").hexdigest()
    code, _, calls = run(tree, script, PATH=f"{tree / 'tools'}:{bare}", **{PREPARED_VARIABLE: digest})
    assert code == 0
    assert calls[0].startswith("python -c ")
    assert not any("pip" in call for call in calls)


def test_no_requirements_no_pip(tree: Path) -> None:
    (tree / "src/requirements.txt").unlink()
    code, _, calls = run(tree, start_script("eval.py", ["python"]))
    assert (code, calls) == (0, ["python eval.py"])


def test_names_with_spaces_and_commands_of_the_shell(tree: Path) -> None:
    assert start_script("my script.py", ["python", "-u"]).endswith("\nexec python -u 'my script.py' \"$@\"\n")
    assert start_script("s.py", ["A=1", "python"]).endswith('\nA=1 python s.py "$@"\n')
    assert start_script("s.py", ["cd x && python"]).endswith('\ncd x && python s.py "$@"\n')


def test_code_artifact_comes_before_pip(tree: Path) -> None:
    arn = "arn:aws:codeartifact:eu-west-1:111122223333:repository/domain/repo"
    script = start_script("s.py", ["python"], arn)
    login = (
        "aws codeartifact login --tool pip --domain domain --domain-owner 111122223333 "
        "--repository repo --region eu-west-1"
    )
    assert script.index(login) < script.index("pip install")
