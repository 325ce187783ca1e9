"""Containers by a real Podman: the conformance suite, and what is the containers' own."""

import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import podman as support
import pytest
from ordinary import run_as_ordinary_user
from podman import OTHERS, lacking, podman

from penstock.errors import ClientFailure
from penstock.runtimes.base import Mount
from penstock.runtimes.containers import remains
from penstock.runtimes.containers.runtime import Container
from penstock.testing.limits import LimitsSuite
from penstock.testing.scripts import PYTHON, python, run, script, sh
from penstock.testing.walls import WallsSuite

pytestmark = [pytest.mark.machine, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]


@pytest.fixture(scope="module")
def engine():
    with podman() as one:
        yield one


@pytest.fixture
def runtime(engine, tmp_path_factory):
    return Container(engine.engine, engine.image(), tmp_path_factory.mktemp("run"))


class TestContainer(WallsSuite):
    added_variables = frozenset({"HOME", "HOSTNAME", "LC_ALL", "PATH", "PWD", "TERM", "container"})
    not_text = ""

    @pytest.fixture
    def runtime(self, runtime):
        return runtime


class TestOwners:
    """Whose files are, for root, rootless, and one whom a root's engine lets in."""

    @pytest.mark.parametrize("user", ["root", "worker"])
    def test_what_users_of_the_image_write_becomes_ours(self, engine, tmp_path, tmp_path_factory, user):
        image = engine.image(engine.variant(f"of-{user}", f"USER {user}"))
        runtime = Container(engine.engine, image, tmp_path_factory.mktemp("run"))
        (tmp_path / "deep").mkdir()
        words = (
            "umask 077; cd /opt/ml; mkdir -p deep/er; echo x > deep/er/file; ln -s /etc/passwd link; id -u"
        )
        said = sh(runtime, words, mounts=(Mount(tmp_path, "/opt/ml", writable=True),))
        assert said == (0, b"0\n" if user == "root" else b"1000\n")
        if os.geteuid() != 0:  # root needs none of it to be its own
            assert {path.lstat().st_uid for path in tmp_path.rglob("*")} == {os.geteuid()}
        assert (tmp_path / "deep/er/file").read_text() == "x\n"
        shutil.rmtree(tmp_path / "deep")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can remove everything as it is")
    def test_a_program_may_hand_files_to_others(self, runtime, tmp_path):
        words = "cd /opt/ml; mkdir theirs; touch theirs/x; chown -R 1000:1000 theirs; chmod 700 theirs"
        assert sh(runtime, words, mounts=(Mount(tmp_path, "/opt/ml", writable=True),)) == (0, b"")
        shutil.rmtree(tmp_path / "theirs")


@pytest.mark.skipif(
    os.geteuid() != 0, reason="rootless engines limit only what they are given control groups for"
)
class TestLimits(LimitsSuite):
    folders_in_memory = ("/dev/shm",)

    @pytest.fixture
    def runtime(self, runtime):
        return runtime


def test_nothing_is_left_at_the_engine(engine, runtime):
    assert run(runtime, "/bin/true") == (0, b"")
    assert support.wait_for(lambda: engine.containers() == [])


def test_an_engine_that_is_away_passes_a_signal_on_when_it_is_back(engine, runtime, tmp_path):
    """As when it is updated: a program must not outlive its time limit for that."""
    if OTHERS in os.environ:
        pytest.skip("the engine is another's")
    with (tmp_path / "output").open("wb") as output:
        running = runtime.start(
            script("import time; print('up', flush=True); time.sleep(300)"), output.fileno()
        )
        assert support.wait_for(lambda: (tmp_path / "output").read_bytes() == b"up\n")
        engine.stop_service()
        killing = threading.Thread(target=running.kill)
        killing.start()
        killing.join(0.5)
        assert killing.is_alive()  # it asks again
        engine.start_service()
        killing.join(30)
    assert running.wait(30) == 137
    assert support.wait_for(lambda: engine.containers() == [])
    gc.collect()


def test_a_user_that_the_image_lacks(engine, tmp_path):
    image = engine.image(engine.variant("userless", "USER nobody-there"))
    with pytest.raises(ClientFailure, match="has no user 'nobody-there'"):
        run(Container(engine.engine, image, tmp_path), "/bin/true")


def test_who_started_a_service_ends_without_a_word_about_it(tmp_path):
    code = "from penstock.runtimes.containers.engine import serve; print(serve())"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_socket()  # the service lingers for reapers
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others beforehand")
def test_files_are_taken_over_by_the_machines_own_code(engine, tmp_path, monkeypatch):
    """An image says by /etc/ld.so.preload what its programs load; read from a FIFO it would never end."""
    client = engine.engine.client()
    made = client.create_container(
        support.IMAGE,
        entrypoint=[PYTHON, "-c", "import os; os.mkfifo('/etc/ld.so.preload')"],
        host_config=client.create_host_config(network_mode="none"),
    )["Id"]
    client.start(made)
    assert client.wait(made)["StatusCode"] == 0
    client.commit(made, repository="docker.io/penstock/preloading", tag="latest")
    client.remove_container(made)
    client.close()
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed/file").write_text("x")
    os.chown(tmp_path / "closed", 1000, 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    remains.take_over(engine.engine, "docker.io/penstock/preloading:latest", [tmp_path])
    assert {path.stat().st_uid for path in (tmp_path, *tmp_path.rglob("*"))} == {1234}


def test_an_image_without_a_shell(engine, tmp_path):
    """As distroless ones are: the two streams come as the engine has them."""
    client = engine.engine.client()
    none = client.create_host_config(network_mode="none")
    made = client.create_container(support.IMAGE, entrypoint=["/bin/rm", "/usr/bin/sh"], host_config=none)[
        "Id"
    ]
    client.start(made)
    assert client.wait(made)["StatusCode"] == 0
    client.commit(made, repository="docker.io/penstock/shell-less", tag="latest")
    client.remove_container(made)
    client.close()
    image = engine.image("docker.io/penstock/shell-less:latest")
    assert not image.shell
    runtime = Container(engine.engine, image, tmp_path)
    assert python(runtime, "print('well')") == (0, b"well\n")
    code, output = run(runtime, "/bin/no-such")  # the engine's init says so, by a code of its own
    assert code not in {0, None}
    assert b"No such file" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
class TestOrdinaryUser:
    def test_rootless(self):
        done = self._run()
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout

    def test_let_in_by_a_roots_engine(self, engine):
        """As members of Docker's group are."""
        engine.let_in()
        done = self._run({OTHERS: engine.socket, "PYTEST_ADDOPTS": "-k 'TestOwners or belongs or exit_code'"})
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout

    def _run(self, variables=None):
        modules = ("docker", "requests", "urllib3", "certifi", "idna", "charset_normalizer")
        return run_as_ordinary_user(
            Path(__file__), Path(support.__file__), modules=modules, variables=variables or {}
        )
