"""Requirements on top of an environment, a job's own layer, and strictness: what needs no uv."""

import os
from dataclasses import replace

import pytest

from penstock.environments import Cancelled, job_layer, self_contained
from penstock.environments import build as preparing
from penstock.environments import requirements as adding
from penstock.environments.build import prepare
from penstock.environments.interpreters import Interpreter
from penstock.environments.layer import BASE, LAYER
from penstock.environments.model import Environment
from penstock.environments.requirements import add_requirements
from penstock.environments.resolve import Resolution
from penstock.environments.uv import UvError
from penstock.errors import ClientFailure
from penstock.runtimes.base import File, Mount

LOCK = "numpy==1.24.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nscikit-learn==1.2.1 \\\n    --hash=sha256:cc\n"


def quiet(_):
    """Progress that nobody reads."""


@pytest.fixture
def environment(tmp_path):
    prefix = tmp_path / "cache/base/venv"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "pyvenv.cfg").touch()
    python = tmp_path / "python3.9"
    python.touch()
    return Environment("base", prefix, "3.9.18", str(python), ("/kept/3.9.18",), {}, lock=LOCK)


def compiled_to(monkeypatch, text):
    calls = []

    def uv(*arguments, folder, **_):
        calls.append([str(one) for one in arguments])
        if "compile" in arguments:
            output = arguments[arguments.index("--output-file") + 1]
            assert output.read_text() == LOCK
            output.write_text(text)

    monkeypatch.setattr(adding, "uv", uv)
    return calls


def test_what_the_environment_has_already_changes_nothing(environment, tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("scikit_learn>=1\n")
    # More hashes than before, as when source archives are allowed: the version is the same.
    calls = compiled_to(
        monkeypatch, "scikit-learn==1.2.1 \\\n    --hash=sha256:cc \\\n    --hash=sha256:dd\n"
    )
    for _ in range(2):
        got = add_requirements(environment, tmp_path / "requirements.txt", tmp_path / "cache", progress=quiet)
        assert got == replace(environment, requirements=got.requirements)
        assert len(got.requirements) == 64
    assert len(calls) == 1


def test_only_what_is_new_is_installed(environment, tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\ncowpy\n")
    calls = compiled_to(
        monkeypatch, "cowpy==1.1.5 \\\n    --hash=sha256:ee\nnumpy==1.26.4 \\\n    --hash=sha256:ff\n"
    )
    installed = []
    monkeypatch.setattr(adding, "_install", lambda added, *_: installed.append(added))
    got = add_requirements(environment, tmp_path / "requirements.txt", tmp_path / "cache", progress=quiet)
    expected = "cowpy==1.1.5 \\\n    --hash=sha256:ee\nnumpy==1.26.4 \\\n    --hash=sha256:ff\n"
    assert installed == [expected]
    assert "scikit-learn==1.2.1" in got.lock
    assert "numpy==1.24.1" not in got.lock
    assert got.digest != environment.digest
    assert (got.prefix / "pyvenv.cfg").is_file()
    assert len(calls) == 1


def content(path):
    return adding._content(path, path.parent.resolve())


def test_the_content_of_nested_files_and_local_packages_counts(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "pkg").mkdir()
    main = tmp_path / "requirements.txt"
    main.write_text("-r sub/more.txt  # more\n--constraint=limits.txt\n-e ./pkg[extra]\nplain>=1\n")
    (tmp_path / "sub/more.txt").write_text("-c ../limits.txt\nother @ file:pkg\n")
    limits = tmp_path / "limits.txt"
    limits.write_text("plain<9\n")
    (tmp_path / "pkg/pyproject.toml").touch()
    module = tmp_path / "pkg/module.py"
    module.write_text("x = 1\n")
    seen = {content(main)}
    for file, text in (
        (limits, "plain<8\n"),
        (module, "x = 2\n"),
        (tmp_path / "sub/more.txt", "-c ../limits.txt\n"),
    ):
        file.write_text(text)
        assert content(main) not in seen
        seen.add(content(main))


@pytest.mark.parametrize(
    "line", ["-r ../x.txt", "-c /etc/passwd", "../pkg", "-e /srv/pkg", "name @ file:///etc"]
)
def test_paths_out_of_the_folder_are_refused(tmp_path, line):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "requirements.txt").write_text(line + "\n")
    with pytest.raises(ClientFailure, match="outside the folder"):
        content(folder / "requirements.txt")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret\n")
    (folder / "more.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "requirements.txt").write_text("-r more.txt\n")
    with pytest.raises(ClientFailure, match="outside the folder"):
        content(folder / "requirements.txt")


@pytest.mark.parametrize(
    "line",
    [
        "pandas==1.5.3",
        "x @ https://host/x.whl",
        "git+https://host/x.git",
        "--index-url https://h/simple",
        "# ../x",
    ],
)
def test_what_comes_over_the_network_is_no_path(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(line + "\n")
    assert content(tmp_path / "requirements.txt") == line + "\n"


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_bytes(b"\xff\xff")
    with pytest.raises(ClientFailure, match=r"more\.txt can't be read: it is no UTF-8 text"):
        content(tmp_path / "requirements.txt")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("-r sub/base.txt", "file"),
        ("--constraint=limits.txt", "file"),
        ("./mypkg", "package"),
        ("mypkg @ ./mypkg", "package"),
        ("mypkg-1.0-py3-none-any.whl", "package"),
        ("-e .", "package"),
        (".[dev]", "package"),
        ("--find-links wheels", "folder"),
    ],
)
def test_what_is_not_beside_the_file_is_told_as_it_stands_there(tmp_path, line, what):
    (tmp_path / "requirements.txt").write_text(f"numpy\n{line}  # ours\n")
    with pytest.raises(ClientFailure) as caught:
        content(tmp_path / "requirements.txt")
    assert f"requirements.txt says '{line}', which names something outside the requirements file" in str(
        caught.value
    )
    assert f"no such {what}" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only ./a comment \\\nnumpy\n",
        "numpy",
        "\ufeffnumpy\r\npandas\r\n",
        "numpy==1.26.4  # pinned\n\n",
        "scikit_learn[alldeps, x] >=1.0, !=1.1.*,<2 ; python_version < '3.12' and sys_platform == \"linux\"\n",
        "torch (>=2.0)  # \u884c\u5217\u3000\u00e9\n",
        "torch===2.1.0+cpu",
        "zope.interface~=5.0",
        "numpy==1.26.4 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
        "--index-url https://user:word@host/simple\n-i http://127.0.0.1:1/simple\n--extra-index-url=https://h/s\n",
        "--find-links https://host/wheels/\n--pre\n--no-index\n--trusted-host host:8080\n",
        "--only-binary=:all:\n--require-hashes\n",
        "-r more.txt\n-rmore.txt\n--requirement=more.txt\n-c ./sub/limits.txt\n--constraint sub/limits.txt\n",
    ],
)
def test_what_comes_from_an_index_is_self_contained(text):
    assert self_contained(text, {"more.txt", "sub/limits.txt"})


@pytest.mark.parametrize(
    "line",
    [
        "./mypkg",
        "../mypkg",
        "mypkg/",
        ".",
        ".[dev]",
        "-e .",
        "-e git+https://host/x.git",
        "--editable=./x",
        "file:///srv/pkg",
        "name @ file:pkg",
        "name @ https://host/x.whl",
        "git+https://host/x.git",
        "x-1.0-py3-none-any.whl",
        "X.TAR.GZ",
        "-r other.txt",
        "-r ../more.txt",
        "-r more.txt other.txt",
        "-c https://host/limits.txt",
        "-r 'more.txt'",
        "--no-binary x,y",
        "-f wheels",
        "--find-links=/srv/wheels",
        "--find-links file:///srv/wheels",
        "--index-url /srv/simple",
        "--index-url https://${TOKEN}@host/simple",
        "--index-url https://h/s --find-links ./wheels",
        "--config-settings x",
        "numpy --global-option=x",
        "${NAME}",
        "num\\\npy # and \\\n./x",
        "numpy \\\n# comment\n>=1",
        "numpy # comment \\\n./mypkg",
        "numpy \\",
        "numpy\u2028./mypkg",
        "numpy\x0c",
        "numpy pandas",
        "numpy==",
    ],
)
def test_what_names_more_or_is_not_understood_is_not_self_contained(line):
    assert not self_contained(f"numpy\n{line}", {"more.txt"})
    assert not self_contained(f"{line}\nnumpy\n", {"more.txt"})


def test_a_cancelled_installation_is_no_fault_of_the_job_and_leaves_nothing(environment, tmp_path):
    (tmp_path / "requirements.txt").write_text("nosuch\n")
    with pytest.raises(Cancelled):
        add_requirements(
            environment,
            tmp_path / "requirements.txt",
            tmp_path / "cache",
            progress=quiet,
            cancelled=lambda: True,
        )
    assert not list((tmp_path / "cache/building").iterdir())
    assert not list((tmp_path / "cache/known").iterdir())


def test_uvs_reason_reaches_the_user(environment, tmp_path, monkeypatch):
    def uv(*_, **__):
        raise UvError("Because nosuch was not found in the package registry", unsatisfiable=True)

    monkeypatch.setattr(adding, "uv", uv)
    (tmp_path / "requirements.txt").write_text("nosuch\n")
    with pytest.raises(ClientFailure) as caught:
        add_requirements(environment, tmp_path / "requirements.txt", tmp_path / "cache", progress=quiet)
    assert "requirements.txt can't be installed: Because nosuch was not found" in caught.value.reason


def test_a_layer_has_its_own_python_pip_and_place_to_write(environment, tmp_path):
    script = environment.prefix / "bin/pip"
    script.write_text(
        "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n"
    )
    script.chmod(0o755)
    (environment.prefix / "bin/ninja").write_bytes(b"\x7fELF")
    (environment.prefix / "bin/python").symlink_to(environment.interpreter)
    target = tmp_path / "layer"
    layer = job_layer(environment, target)
    assert layer.mounts == (
        Mount(layer.mounts[0].source, "/kept/3.9.18"),
        Mount(environment.prefix, BASE),
        Mount(target, f"{LAYER}/lib", writable=True),
    )
    assert layer.path_entries == (f"{LAYER}/bin", f"{BASE}/bin")
    assert layer.variables == {"VIRTUAL_ENV": LAYER}
    made = {one.path.removeprefix(f"{LAYER}/"): one for one in layer.files}
    assert set(made) == {"pyvenv.cfg", "lib64", "bin/python", "bin/python3", "bin/python3.9", "bin/pip"}
    assert made["lib64"].to == "lib"  # on disk as well
    assert made["bin/python3.9"].to == environment.interpreter
    assert made["bin/pip"] == File(f"{LAYER}/bin/pip", script.read_bytes(), 0o755)
    assert (
        f"{BASE}/lib/python3.9/site-packages" in (target / "python3.9/site-packages/penstock.pth").read_text()
    )


def test_a_layer_has_the_scripts_that_are_there_now(environment, tmp_path):
    scripts = environment.prefix / "bin"
    head = """#!/bin/sh\n'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"\n' '''\n"""

    def found(name):
        layer = job_layer(environment, tmp_path / name)
        return {one.path: one.content for one in layer.files if isinstance(one, File) and "/bin/" in one.path}

    (scripts / "pip").write_text(head)
    assert found("first") == {f"{LAYER}/bin/pip": head.encode()}
    (scripts / "wheel").write_text(head)
    os.utime(scripts, ns=(1, 1))  # many kernels tell times that are a few milliseconds apart as the same
    assert found("second") == dict.fromkeys((f"{LAYER}/bin/pip", f"{LAYER}/bin/wheel"), head.encode())


def test_strict_versions_refuse_before_anything_is_installed(tmp_path, monkeypatch):
    python = Interpreter("/usr/bin/python3.11", "3.11.2", "/usr")
    differs = Resolution(python, "x==1\n", ("torch 1.10.2 has no wheel for Python 3.11; 1.13.0 is used",))
    monkeypatch.setattr(preparing, "resolve", lambda *_, **__: differs)
    monkeypatch.setattr(preparing, "uv", lambda *_, **__: pytest.fail("uv was called"))
    with pytest.raises(ClientFailure, match=r"torch 1\.10\.2 has no wheel"):
        prepare(
            "pytorch-training:1.10-cpu-py38", tmp_path, strict=True, progress=quiet, interpreters=[python]
        )


def test_an_unknown_image_is_the_jobs_fault(tmp_path):
    with pytest.raises(ClientFailure, match="names no environment"):
        prepare("ubuntu:22.04", tmp_path, strict=False, progress=quiet)
