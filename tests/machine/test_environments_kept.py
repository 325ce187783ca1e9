"""Environments over their whole life, from a small index of the test's own: shared, killed, offline, locked, removed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from package_index import Index, wheel

from penstock.environments import (
    NeedsBuilding,
    Uses,
    add_requirements,
    dependencies,
    prepare,
    prepare_exact,
)
from penstock.environments.interpreters import at_hand
from penstock.environments.inventory import listing, remove
from penstock.environments.uv import find_uv
from penstock.errors import ClientFailure, InternalFailure
from penstock.job.lock import EnvironmentLock

pytestmark = pytest.mark.machine

MINOR = f"3.{sys.version_info.minor}"
PLAIN = f"python:{MINOR}"
PASSWORD = "never-to-be-told"
#: Whether a network namespace can be made here, and how.
ALONE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


def quiet(_):
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def running():
    return [one for one in at_hand(Path("/nonexistent")) if one.minor == MINOR]


@pytest.fixture
def wheels(tmp_path):
    """What every environment has, in small, and two packages more."""
    folder = tmp_path / "wheels"
    for name in ("pip", "setuptools", "wheel"):
        wheel(folder, name, "1.0")
    wheel(folder, "needed", "1.0")
    wheel(folder, "needed", "2.0")
    wheel(folder, "wanted", "1.0", requires=["needed<2"])
    return folder


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """No settings of this machine's: only what a test says counts."""
    for name in [one for one in os.environ if one.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def index(wheels, clean, monkeypatch):
    served = Index(wheels)
    monkeypatch.setenv("PIP_INDEX_URL", served.url())
    yield served
    served.close()


@pytest.fixture
def plain(index, tmp_path, running):
    return prepare(PLAIN, tmp_path / "environments", strict=False, progress=quiet, interpreters=running)


def requirements(tmp_path, text, name="requirements.txt"):
    path = tmp_path / "code" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def ask(environment, code):
    python = environment.prefix / "bin/python"
    return subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def builder(folder, *before, who="the job a (algo-1)"):
    """A process that prepares the plain environment in `folder`, telling each step on stdout."""
    code = f"""
    from pathlib import Path
    from penstock.environments import Uses, prepare
    from penstock.environments.interpreters import at_hand
    found = [one for one in at_hand(Path("/nonexistent")) if one.minor == {MINOR!r}]
    tell = lambda text: print(text, flush=True)
    with Uses() as uses:
        environment = prepare({PLAIN!r}, Path({str(folder)!r}), strict=False, progress=tell, interpreters=found,
                              who={who!r}, uses=uses)
        print("digest", environment.digest, flush=True)
    """
    argv = [*before, sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_builders_killed_at_any_moment_leave_nothing_half_done_that_is_used(index, tmp_path):
    """Twelve in a row, with the uv of every second one; whatever is there afterwards is whole, and the next succeeds."""
    folder = tmp_path / "environments"
    began = time.monotonic()
    whole = builder(tmp_path / "measured")
    said, _ = whole.communicate(timeout=120)
    assert whole.returncode == 0
    takes = time.monotonic() - began
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    for number in range(12):
        process = builder(folder)
        time.sleep(moments.uniform(0.1, 1) * takes)  # a moment, whatever is done at it
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate(timeout=60)
        for one in listing(folder):
            assert ask(one.environment, "import pip; print(pip.x)") == "1.0", f"seed {seed}"
        shutil.rmtree(folder / "known", ignore_errors=True)  # the next one does not only find it
        for one in listing(folder):
            if number % 3 == 0:
                remove(folder, one.environment.digest)
    last = builder(folder)
    told, _ = last.communicate(timeout=120)
    assert last.returncode == 0, f"seed {seed}"
    assert told.splitlines()[-1] == said.splitlines()[-1]
    [one] = listing(folder)
    assert ask(one.environment, "import pip, wheel, setuptools; print(pip.x)") == "1.0"


def test_who_waits_reads_for_whom_and_how_far_it_is(index, tmp_path):
    index.open.clear()
    first = builder(tmp_path / "environments", who="the job a (algo-1)")
    assert index.asked.wait(60)
    second = builder(tmp_path / "environments", who="the job b (algo-1)")
    line = second.stdout.readline()
    assert line.startswith(f"Waiting for the job a (algo-1), which builds the environment python-{MINOR}-")
    index.open.set()
    told = second.stdout.read().splitlines()
    second.communicate(timeout=120)
    built = first.communicate(timeout=120)[0].splitlines()
    assert told[0].startswith("the job a (algo-1): Preparing the environment of python")
    assert not any(line.startswith("Installing ") for line in told)
    assert told[-1] == built[-1]


@pytest.mark.skipif(
    subprocess.run([*ALONE, "true"], capture_output=True).returncode != 0, reason="no network namespaces here"
)
def test_without_a_network_what_is_cached_is_used_and_a_lock_is_built_of_what_uv_has(
    plain, index, tmp_path, running
):
    index.close()
    again = builder(tmp_path / "environments", *ALONE)
    assert again.communicate(timeout=60)[0].splitlines() == [f"digest {plain.digest}"]
    lock = tmp_path / "lock"
    lock.write_text(plain.lock_text)
    code = f"""
    from pathlib import Path
    from penstock.environments import prepare_exact
    from penstock.job.lock import EnvironmentLock
    lock = EnvironmentLock.read(Path({str(lock)!r}).read_text())
    print(prepare_exact(lock, Path({str(tmp_path / "other")!r}), strict=True, progress=str).digest)
    """
    done = subprocess.run(
        [*ALONE, sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == plain.digest, done.stderr


def contents(environment):
    """Path -> bytes of all that was installed, but for what tells where and when."""
    site = next(environment.prefix.glob("lib/python3*/site-packages"))
    return {
        str(one.relative_to(site)): one.read_bytes()
        for one in site.rglob("*")
        if one.is_file() and "__pycache__" not in one.parts and one.name not in {"REQUESTED", "uv_cache.json"}
    }


def test_a_lock_makes_the_same_environment_again_requirements_included(plain, index, tmp_path, running):
    file = requirements(tmp_path, "wanted\n")
    made = add_requirements(plain, file, tmp_path / "environments", progress=quiet)
    lock = EnvironmentLock.read(made.lock_text)
    assert (lock.framework, lock.requirements) == (f"python=={MINOR}", made.requirements)
    for newer in ("needed", "wanted", "pip"):
        wheel(index.folder, newer, "1.9")
    told = []
    again = prepare_exact(lock, tmp_path / "other", strict=True, progress=told.append, interpreters=running)
    assert (again.digest, again.packages, again.lock) == (made.digest, made.packages, made.lock)
    assert again.packages["needed"] == "1.0"
    assert contents(again) == contents(made)
    assert any("packages of the lock" in text for text in told)
    # Where it was made it is simply there.
    here = prepare_exact(lock, tmp_path / "environments", strict=True, progress=quiet, interpreters=running)
    assert here.prefix == made.prefix


def test_a_package_that_is_not_the_locks_is_refused(plain, index, tmp_path, running, monkeypatch):
    lock = EnvironmentLock.read(plain.lock_text)
    wheel(index.folder, "pip", "1.0", body="y = 'put there by another'")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(InternalFailure, match=r"(?i)hash mismatch"):
        prepare_exact(lock, tmp_path / "other", strict=False, progress=quiet, interpreters=running)
    assert listing(tmp_path / "other") == []


def test_a_lock_for_another_python_says_what_it_needs(plain, tmp_path, running):
    text = plain.lock_text.replace(f"# python: {plain.python}", "# python: 3.6.1")
    with pytest.raises(
        ClientFailure, match=r"this machine has no 3\.6\. Install it .*uv python install 3\.6"
    ):
        prepare_exact(
            EnvironmentLock.read(text), tmp_path / "other", strict=False, progress=quiet, interpreters=running
        )


def test_another_patch_of_the_locks_python_is_a_deviation(plain, tmp_path, running):
    lock = EnvironmentLock.read(plain.lock_text.replace(f"# python: {plain.python}", f"# python: {MINOR}.99"))
    folder = tmp_path / "other"
    made = prepare_exact(lock, folder, strict=False, progress=quiet, interpreters=running)
    assert made.deviations == (f"lock is for Python {MINOR}.99, this environment has {plain.python}",)
    with pytest.raises(ClientFailure, match="would differ"):
        prepare_exact(lock, folder, strict=True, progress=quiet, interpreters=running)


@pytest.fixture
def project(index, tmp_path, plain):
    """A project with a lock that uv has made from the index."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        "[project]\nname = 'mine'\nversion = '1'\nrequires-python = '>=3.9'\n"
        "dependencies = ['wanted', \"absent; python_version < '3'\"]\n"
    )
    wheel(index.folder, "absent", "1.0")
    subprocess.run(
        [find_uv(), "lock", "--quiet", "--default-index", index.url(), "--python", plain.interpreter],
        cwd=folder,
        check=True,
        timeout=60,
    )
    return folder


def test_a_projects_lock_is_installed_exactly(project, index, tmp_path, plain):
    wheel(index.folder, "wanted", "3.0")
    wheel(index.folder, "needed", "1.5")
    text = dependencies(project, plain.python)
    file = requirements(tmp_path, text, "uv.lock.txt")
    made = add_requirements(plain, file, tmp_path / "environments", progress=quiet, exact=True)
    assert made.packages == {**plain.packages, "wanted": "1.0", "needed": "1.0"}
    assert ask(made, "import wanted; print(wanted.x)") == "1.0"
    # Without its lock the newest that fits is taken.
    (project / "uv.lock").unlink()
    file = requirements(tmp_path, dependencies(project, plain.python), "pyproject.toml.txt")
    newest = add_requirements(plain, file, tmp_path / "environments", progress=quiet)
    assert newest.packages == {**plain.packages, "wanted": "3.0"}


def test_a_projects_lock_decides_on_the_hashes(project, index, tmp_path, plain, monkeypatch):
    wheel(index.folder, "wanted", "1.0", body="y = 'put there by another'", requires=["needed<2"])
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    file = requirements(tmp_path, dependencies(project, plain.python), "uv.lock.txt")
    with pytest.raises(ClientFailure, match=r"(?i)hash mismatch"):
        add_requirements(plain, file, tmp_path / "environments", progress=quiet, exact=True)
    (project / "uv.lock").write_text("version = 'none'\n")
    with pytest.raises(ClientFailure, match=r"uv\.lock can't be read"):
        dependencies(project, plain.python)


def test_what_requirements_change_and_break_is_told(plain, index, tmp_path):
    folder = tmp_path / "environments"
    first = add_requirements(plain, requirements(tmp_path, "wanted\n"), folder, progress=quiet)
    (tmp_path / "code/more.txt").write_text("needed==2.0\n")
    second = add_requirements(first, tmp_path / "code/more.txt", folder, progress=quiet)
    assert second.packages["needed"] == "2.0"
    assert second.notes == (
        "more.txt replaces needed 1.0 of the environment by 2.0",
        "with more.txt, wanted may not work: it requires needed<2, and 2.0 is installed",
    )


def test_an_environment_that_is_used_outlives_a_prune_and_one_removed_is_built_again(
    plain, tmp_path, running
):
    folder = tmp_path / "environments"
    with Uses() as uses:
        assert prepare(PLAIN, folder, strict=False, progress=quiet, interpreters=running, uses=uses) == plain
        assert [one.in_use for one in listing(folder)] == [True]
        assert not remove(folder, plain.digest)
    assert remove(folder, plain.digest)
    assert not plain.prefix.exists()
    assert prepare(PLAIN, folder, strict=False, progress=quiet, interpreters=running) == plain
    assert ask(plain, "import pip; print(pip.x)") == "1.0"


# -- Private indexes ------------------------------------------------------------------------------------------


@pytest.fixture
def private(wheels, clean):
    served = Index(wheels, PASSWORD)
    yield served
    served.close()


@pytest.fixture
def argvs(monkeypatch):
    """The arguments of every process that is started."""
    real, found = subprocess.Popen, []

    def start(argv, *arguments, **more):
        found.extend(map(str, argv))
        return real(argv, *arguments, **more)

    monkeypatch.setattr(subprocess, "Popen", start)
    return found


def by_pip_variable(private, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", private.url(f"me:{PASSWORD}"))


def by_pip_extra(private, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", private.url(f"me:{PASSWORD}"))
    monkeypatch.setenv("PIP_INDEX_URL", private.url(f"me:{PASSWORD}"))


def by_pip_conf(private, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {private.url(f'me:{PASSWORD}')}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))


def by_uv_variables(private, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"mine={private.url()}")
    monkeypatch.setenv("UV_INDEX_MINE_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", PASSWORD)


def by_uv_toml(private, tmp_path, monkeypatch):
    (tmp_path / "config/uv").mkdir(parents=True)
    text = f'[[index]]\nurl = "{private.url(f"me:{PASSWORD}")}"\ndefault = true\n'
    (tmp_path / "config/uv/uv.toml").write_text(text)


def by_netrc(private, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PIP_INDEX_URL", private.url())


def by_keyring(private, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "keyring").write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    (tools / "keyring").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    monkeypatch.setenv("PIP_INDEX_URL", private.url("me"))


WAYS = [by_pip_variable, by_pip_extra, by_pip_conf, by_uv_variables, by_uv_toml, by_netrc, by_keyring]


def places_that_tell(folder):
    return [one for one in folder.rglob("*") if one.is_file() and PASSWORD.encode() in one.read_bytes()]


@pytest.mark.parametrize("way", WAYS)
def test_a_private_index_is_used_and_its_password_told_to_nobody(
    private, tmp_path, running, monkeypatch, argvs, way
):
    way(private, tmp_path, monkeypatch)
    folder, told = tmp_path / "environments", []
    made = prepare(PLAIN, folder, strict=False, progress=told.append, interpreters=running)
    more = add_requirements(made, requirements(tmp_path, "wanted\n"), folder, progress=told.append)
    again = prepare_exact(
        EnvironmentLock.read(more.lock_text),
        tmp_path / "other",
        strict=False,
        progress=told.append,
        interpreters=running,
    )
    assert again.packages["wanted"] == "1.0"
    assert private.served > 0
    with pytest.raises(ClientFailure) as caught:
        add_requirements(made, requirements(tmp_path, "nosuch\n"), folder, progress=told.append)
    texts = [*told, *argvs, more.lock_text, json.dumps(more.record()), str(caught.value)]
    assert [one for one in texts if PASSWORD in one] == []
    assert places_that_tell(folder) + places_that_tell(tmp_path / "other") == []


def test_a_wrong_password_is_told_as_a_matter_of_the_index_and_not_shown(
    private, tmp_path, running, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", private.url("me:wrong-and-secret"))
    with pytest.raises(InternalFailure, match="Check the network and the index settings") as caught:
        prepare(PLAIN, tmp_path / "environments", strict=False, progress=quiet, interpreters=running)
    assert private.refused > 0
    assert "wrong-and-secret" not in str(caught.value)


def test_the_index_that_requirements_name_is_used_for_them_and_its_password_not_kept(
    plain, private, index, tmp_path
):
    """The package is nowhere else."""
    (index.folder / "wanted-1.0-py3-none-any.whl").rename(tmp_path / "wanted-1.0-py3-none-any.whl")
    private.folder = tmp_path
    file = requirements(tmp_path, f"--extra-index-url {private.url(f'me:{PASSWORD}')}\nwanted\n")
    made = add_requirements(plain, file, tmp_path / "environments", progress=quiet)
    assert made.packages["wanted"] == "1.0"
    assert PASSWORD not in made.lock_text
    assert places_that_tell(tmp_path / "environments") == []


def test_a_requirement_that_must_be_built_is_not_built_for_a_lock(project, index, tmp_path, plain):
    file = requirements(tmp_path, "--no-binary :all:\nwanted==1.0\n", "uv.lock.txt")
    with pytest.raises(NeedsBuilding):
        add_requirements(plain, file, tmp_path / "environments", progress=quiet, exact=True)
