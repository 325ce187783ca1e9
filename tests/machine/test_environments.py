"""Environments built for real by uv, and used through a layer within walls made by hand."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from penstock.environments import add_requirements, job_layer, prepare
from penstock.environments.interpreters import at_hand
from penstock.errors import ClientFailure, InternalFailure

pytestmark = pytest.mark.machine

SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PLAIN = f"python:3.{sys.version_info.minor}"


def quiet(_):
    """Progress that nobody reads."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where environments are kept: over runs when PENSTOCK_ENVIRONMENTS says so, else for this run."""
    kept = os.environ.get("PENSTOCK_ENVIRONMENTS")
    return Path(kept) if kept else tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def running():
    """Nothing but the minor version of Python that the tests run on, as on a machine with no other."""
    found = [one for one in at_hand(Path("/nonexistent")) if one.minor == PLAIN.removeprefix("python:")]
    assert found
    return found


@pytest.fixture(scope="session")
def plain(folder, running):
    return prepare(PLAIN, folder, strict=True, progress=quiet, interpreters=running)


def ask(environment, code):
    python = environment.prefix / "bin/python"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def wheel(folder, name, version, body=""):
    """A wheel of one module, with a console script that prints the module's `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"x = {version!r}\n{body}\ndef main():\n    print(x)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def test_a_plain_python_with_pip_and_nothing_else(plain):
    assert plain.packages.keys() <= {"pip", "setuptools", "wheel", "packaging"}
    assert plain.deviations == ()
    assert ask(plain, "import pip; print(pip.__version__)") == plain.packages["pip"]


def test_a_warm_prepare_takes_milliseconds_and_starts_nothing(plain, folder, running, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    began = time.perf_counter()
    again = prepare(PLAIN, folder, strict=True, progress=pytest.fail, interpreters=running)
    assert time.perf_counter() - began < 0.25
    assert again == plain


def test_the_bytecode_is_there_even_where_the_user_forbids_it(tmp_path, running, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = prepare(PLAIN, tmp_path, strict=False, progress=quiet, interpreters=running)
    site = next(environment.prefix.glob("lib/python3*/site-packages"))
    sources = list((site / "pip").rglob("*.py"))
    missing = [one for one in sources if not list(one.parent.glob(f"__pycache__/{one.stem}.cpython-*.pyc"))]
    assert sources
    assert missing == []


def test_the_sklearn_image_has_its_framework_exactly_or_says_so(folder):
    environment = prepare(SKLEARN, folder, strict=False, progress=quiet)
    version = ask(environment, "import sklearn, pandas, numpy; print(sklearn.__version__)")
    exact = version == "1.2.1"
    assert exact or any("scikit-learn 1.2.1 has no wheel" in one for one in environment.deviations)
    assert environment.packages["scikit-learn"] == version
    assert (environment.minor == "3.9") or "image has Python 3.9" in environment.deviations[0]
    if any(one.minor in {"3.8", "3.9", "3.10", "3.11"} for one in at_hand(folder)):
        assert exact


def test_one_other_python_is_told_and_refused_when_strict(folder, running):
    environment = prepare(SKLEARN, folder, strict=False, progress=quiet, interpreters=running)
    first, *others = environment.deviations
    assert first == (
        f"image has Python 3.9, this environment has {running[0].version}: no 3.9 interpreter on this machine"
    )
    assert any(one.startswith("pandas 1.1.3 -> ") for one in others)
    ask(environment, "import sklearn.ensemble, pandas, scipy")
    with pytest.raises(ClientFailure, match=r"pandas 1\.1\.3 -> "):
        prepare(SKLEARN, folder, strict=True, progress=quiet, interpreters=running)


def test_an_index_that_does_not_answer_is_told_as_such(tmp_path, running, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hidden@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for name in [
        one for one in os.environ if one.startswith(("UV_INDEX", "UV_DEFAULT", "PIP_EXTRA", "PIP_FIND"))
    ]:
        monkeypatch.delenv(name)
    with pytest.raises(InternalFailure, match="Check the network and the index settings") as caught:
        prepare(PLAIN, tmp_path / "environments", strict=False, progress=quiet, interpreters=running)
    assert "hidden" not in str(caught.value)


def builder(folder, body):
    """A process that prepares the plain environment in `folder`, telling each step on stdout."""
    code = f"""
    import sys
    from pathlib import Path
    from penstock.environments import prepare
    from penstock.environments.interpreters import at_hand
    folder = Path({str(folder)!r})
    {body}
    found = [one for one in at_hand(folder) if one.minor == {PLAIN.removeprefix("python:")!r}]
    tell = lambda text: print(text, flush=True)
    environment = prepare({PLAIN!r}, folder, strict=False, progress=tell, interpreters=found)
    print("digest", environment.digest, flush=True)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_builders_at_once_build_one_environment(tmp_path):
    both = [builder(tmp_path, ""), builder(tmp_path, "")]
    said = [one.communicate(timeout=120)[0].splitlines() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert said[0][-1] == said[1][-1]
    assert sum(any(line.startswith("Installing ") for line in lines) for lines in said) == 1
    assert not list((tmp_path / "building").iterdir())


def test_a_builder_killed_half_way_leaves_nothing_that_hinders_the_next(tmp_path):
    # It stops dead once uv has made the virtual environment, as if killed by the machine's memory watchdog.
    halt = """
    from penstock.environments import build
    real = build.uv
    def uv(*arguments, **more):
        if "install" in arguments:
            print("halted", flush=True)
            sys.stdin.read()
        return real(*arguments, **more)
    build.uv = uv
    """
    code = textwrap.indent(textwrap.dedent(halt), "    ").strip()
    process = builder(tmp_path, code)
    assert any(line.startswith("halted") for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdin.close()
    process.stdout.close()
    (left,) = (tmp_path / "building").iterdir()
    assert (left / "venv/pyvenv.cfg").is_file()
    second = builder(tmp_path, "")
    said = second.communicate(timeout=120)[0].splitlines()
    assert second.returncode == 0
    digest = said[-1].removeprefix("digest ")
    assert not list((tmp_path / "building").iterdir())
    assert (tmp_path / digest / "venv/bin/python").exists()


def test_uv_holds_the_lock_after_its_builder_was_killed(tmp_path):
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    server = socket.create_server(("127.0.0.1", 0))
    code = f"""
    from pathlib import Path
    from penstock.environments.uv import uv
    index = "http://127.0.0.1:{server.getsockname()[1]}/simple"
    settings = {{"UV_DEFAULT_INDEX": index, "UV_INDEX": "", "UV_HTTP_RETRIES": "0"}}
    folder = Path({str(tmp_path)!r})
    uv("pip", "compile", "--no-cache", "-", folder=folder, stdin="x", hold={lock}, extra=settings)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    builder = subprocess.Popen(argv, pass_fds=(lock,), stderr=subprocess.DEVNULL)
    os.close(lock)
    # uv asks the index, which does not answer: it is at work for as long as the test likes.
    connection, _ = server.accept()
    builder.kill()
    builder.wait(20)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    server.close()
    connection.close()
    fcntl.flock(other, fcntl.LOCK_EX)
    os.close(other)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A source folder, with a folder of wheels that pip and uv know of, and no other index."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "penstocktest", "1.0")
    wheel(wheels, "penstocktest", "2.0")
    for name in [
        one for one in os.environ if one.startswith(("UV_INDEX", "UV_DEFAULT", "UV_EXTRA", "UV_FIND", "PIP_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source = tmp_path / "code"
    source.mkdir()
    return source


def test_requirements_are_installed_on_top_once(plain, code, folder):
    requirements = code / "requirements.txt"
    requirements.write_text("-r more.txt\n")
    (code / "more.txt").write_text("penstocktest<2\n")
    derived = add_requirements(plain, requirements, folder, progress=quiet)
    assert derived.packages == {**plain.packages, "penstocktest": "1.0"}
    assert (
        ask(derived, "import penstocktest; print(penstocktest.x, bool(penstocktest.__cached__))")
        == "1.0 True"
    )
    assert "penstocktest==1.0" in derived.lock
    assert "penstocktest" not in ask(
        plain, "import os, pip; print(os.listdir(os.path.dirname(pip.__path__[0])))"
    )
    assert add_requirements(plain, requirements, folder, progress=pytest.fail) == derived
    (code / "more.txt").write_text("penstocktest\n")
    newer = add_requirements(plain, requirements, folder, progress=quiet)
    assert newer.packages["penstocktest"] == "2.0"


def test_a_requirement_that_can_not_be_met_is_named_with_its_reason(plain, code, folder):
    (code / "requirements.txt").write_text("penstocktest==3\n")
    with pytest.raises(ClientFailure) as caught:
        add_requirements(plain, code / "requirements.txt", folder, progress=quiet)
    assert "requirements.txt" in caught.value.reason
    assert "penstocktest==3" in caught.value.reason
    assert "\x1b" not in caught.value.reason


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="the walls of this test are made by bubblewrap")
def test_a_script_installs_into_its_own_layer_alone(plain, code, folder, tmp_path):
    (code / "requirements.txt").write_text("penstocktest<2\n")
    environment = add_requirements(plain, code / "requirements.txt", folder, progress=quiet)
    before = sorted(environment.prefix.rglob("*"))
    layer = job_layer(environment, tmp_path / "layer")
    report = run_within(
        layer,
        tmp_path / "wheels",
        """
        set -e
        penstocktest
        pip list --format=json
        pip install --quiet --upgrade penstocktest
        penstocktest
        python -c "import penstocktest; print(penstocktest.__file__)"
        pip list --format=json
        python -m pip uninstall -y typing 2>/dev/null; echo $?
        python3 -c "import sys, json; print(json.dumps([sys.executable, sys.prefix, sys.version.split()[0]]))"
        touch /opt/penstock/env/x 2>/dev/null || echo read-only
        """,
    )
    assert report[0] == "1.0"
    assert {one["name"]: one["version"] for one in json.loads(report[1])} == environment.packages
    assert report[2] == "2.0"
    assert report[3].startswith("/opt/venv/lib/")
    assert {one["name"]: one["version"] for one in json.loads(report[4])} == {
        **environment.packages,
        "penstocktest": "2.0",
    }
    assert report[5] == "0"
    assert json.loads(report[6]) == ["/opt/venv/bin/python3", "/opt/venv", environment.python]
    assert report[7] == "read-only"
    assert sorted(environment.prefix.rglob("*")) == before


def run_within(layer, wheels, script):
    """Run a shell script that sees the system, the layer and the wheels, and return its lines."""
    argv = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
    ]
    for name in ("/usr", "/etc", "/bin", "/lib", "/lib64"):
        path = Path(name)
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            argv += ["--ro-bind", name, name]
    argv += ["--ro-bind", str(wheels), "/wheels"]
    for mount in layer.mounts:
        argv += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    variables = {
        **layer.variables,
        "PATH": ":".join([*layer.path_entries, "/usr/bin", "/bin"]),
        "HOME": "/tmp",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        [*argv, "sh", "-c", textwrap.dedent(script)],
        env={**variables, "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
