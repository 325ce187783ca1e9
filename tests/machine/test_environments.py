"""Environments built for real by uv, and used through a layer within walls."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest
from package_index import wheel

from penstock.environments import Cancelled, Environment, NeedsBuilding, add_requirements, job_layer, prepare
from penstock.environments.cache import cached
from penstock.environments.interpreters import at_hand
from penstock.errors import ClientFailure, InternalFailure
from penstock.runtimes.base import Mount
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.testing.scripts import sh

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


@pytest.fixture
def silent(monkeypatch, tmp_path):
    """The one index there is: it accepts connections and never answers."""
    clear_indexes(monkeypatch)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        yield server


class Visitor(threading.Thread):
    """Waits for a connection; `came` is set then, and `left()` returns when its other end is gone."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.came = server, threading.Event()
        self.start()

    def run(self):
        self.connection, _ = self.server.accept()
        self.came.set()

    def left(self):
        self.join(60)
        self.connection.settimeout(60)
        with self.connection, contextlib.suppress(ConnectionResetError):
            while self.connection.recv(65536):
                pass


@pytest.fixture
def started(monkeypatch):
    """All processes that are started."""
    real, found = subprocess.Popen, []

    def start(*arguments, **more):
        found.append(real(*arguments, **more))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return found


def bare(tmp_path, running):
    """An environment of which no more is there than resolving needs."""
    return Environment("bare", tmp_path / "bare/venv", running[0].version, running[0].path, (), {})


def test_a_cancelled_preparation_ends_uv_and_leaves_nothing(tmp_path, running, silent, started):
    visitor = Visitor(silent)
    folder = tmp_path / "environments"
    with pytest.raises(Cancelled):
        prepare(
            PLAIN,
            folder,
            strict=False,
            progress=quiet,
            interpreters=running,
            cancelled=visitor.came.is_set,
        )
    assert [one.returncode for one in started] == [-signal.SIGKILL]
    visitor.left()
    assert not list((folder / "building").iterdir())
    assert not list((folder / "known").iterdir())


def test_cancelled_requirements_end_uv_and_leave_nothing(tmp_path, running, silent, started):
    visitor = Visitor(silent)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--index-url {os.environ['UV_DEFAULT_INDEX']}\nnosuch\n")
    folder = tmp_path / "environments"
    with pytest.raises(Cancelled):
        add_requirements(
            bare(tmp_path, running), requirements, folder, progress=quiet, cancelled=visitor.came.is_set
        )
    assert [one.returncode for one in started] == [-signal.SIGKILL]
    visitor.left()
    assert not list((folder / "building").iterdir())


def test_nothing_of_a_requirement_is_run_outside_a_jobs_walls(tmp_path, running):
    """Neither a build script, of a folder or an archive, nor what a wheel wants run at every start of Python."""
    code = tmp_path / "code of mine"
    (code / "mypkg").mkdir(parents=True)
    ran = tmp_path / "ran"
    (code / "mypkg/pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    )
    (code / "mypkg/backend.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with tarfile.open(code / "mypkg-1.0.tar.gz", "w:gz") as archive:
        archive.add(code / "mypkg", "mypkg-1.0")
    requirements = code / "requirements.txt"
    for line in ("./mypkg\n", "./mypkg-1.0.tar.gz\n", "--no-binary mypkg\n./mypkg-1.0.tar.gz\n"):
        requirements.write_text(line)
        said = []
        with pytest.raises(ClientFailure) as caught:
            add_requirements(
                bare(tmp_path, running), requirements, tmp_path / "environments", progress=said.append
            )
        for text in (caught.value.reason, *said):
            assert str(tmp_path) not in text
            assert code.as_uri() not in text
    with zipfile.ZipFile(code / "wanted-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("wanted.pth", f"import os; open({str(ran)!r}, 'w')\n")
        wheel.writestr("wanted/__init__.py", "")
        wheel.writestr("wanted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wanted\nVersion: 1.0\n")
        wheel.writestr(
            "wanted-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("wanted-1.0.dist-info/RECORD", "")
    requirements.write_text("./wanted-1.0-py3-none-any.whl\n")
    base = prepare(PLAIN, tmp_path / "environments", strict=False, progress=quiet, interpreters=running)
    made = add_requirements(base, requirements, tmp_path / "environments", progress=quiet)
    assert "wanted" in made.packages
    assert not ran.exists()


def test_a_requirement_without_a_wheel_is_told_as_such(tmp_path, running):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("sgmllib3k==1.0.0\n")
    with pytest.raises(NeedsBuilding, match="sgmllib3k"):
        add_requirements(bare(tmp_path, running), requirements, tmp_path / "environments", progress=quiet)


def test_the_uv_of_a_killed_builder_hinders_nobody_and_keeps_its_folder_to_its_end(
    tmp_path, running, silent, monkeypatch
):
    visitor = Visitor(silent)
    environments = tmp_path / "environments"
    orphaned = f"""
    from pathlib import Path
    from penstock.environments.cache import cached
    from penstock.environments.uv import uv
    def build(work, hold, progress):
        uv("pip", "compile", "-", folder=work, stdin="x", hold=hold)
    cached(Path({str(environments)!r}), "key", build, progress=print)
    """
    first = subprocess.Popen([sys.executable, "-c", textwrap.dedent(orphaned)], stderr=subprocess.DEVNULL)
    # uv asks the index, which does not answer: it is at work for as long as the test likes.
    assert visitor.came.wait(60)
    first.kill()
    first.wait(20)
    (left,) = (environments / "building").iterdir()

    def build(work, hold, progress):
        (work / "venv").mkdir()
        (work / "venv/pyvenv.cfg").touch()
        return Environment("d", environments / "d/venv", "3.11.1", sys.executable, (), {})

    assert cached(environments, "key", build, progress=pytest.fail).prefix.is_dir()
    assert left.is_dir()
    held = os.open(left, os.O_RDONLY)
    silent.close()
    visitor.connection.close()
    # Ours as soon as uv has ended.
    fcntl.flock(held, fcntl.LOCK_EX)
    os.close(held)
    cached(environments, "other", build, progress=quiet)
    assert not left.exists()


def clear_indexes(monkeypatch):
    for name in [
        one for one in os.environ if one.startswith(("UV_INDEX", "UV_DEFAULT", "UV_EXTRA", "UV_FIND", "PIP_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A source folder, with a folder of wheels that pip and uv know of, and no other index."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "penstocktest", "1.0")
    wheel(wheels, "penstocktest", "2.0")
    clear_indexes(monkeypatch)
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
        # As some systems' interpreters have it.
        python -c "import sys, sysconfig; sys.platlibdir = 'lib64'; print(sysconfig.get_path('platlib'))" > /tmp/platlib
        realpath "$(cat /tmp/platlib)"
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
    assert report[8].startswith("/opt/venv/lib/python")
    assert sorted(environment.prefix.rglob("*")) == before


def run_within(layer, wheels, script):
    """Run a shell script that sees the layer and the wheels, and return its lines."""
    code, output = sh(
        Bubblewrap(),
        textwrap.dedent(script),
        environment={
            **layer.variables,
            "PATH": ":".join([*layer.path_entries, "/usr/bin", "/bin"]),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/wheels",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        mounts=(Mount(wheels, "/wheels"), *layer.mounts),
        files=layer.files,
        network=False,
    )
    assert code == 0, output
    return output.decode().splitlines()
