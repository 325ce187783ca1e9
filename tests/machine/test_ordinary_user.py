"""A whole job as an ordinary user: an account of its own, Debian's Python, an installation of the wheel, no rights."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
USER = "penstock-test"
PYTHON = "/usr/bin/python3"


@pytest.fixture
def account():
    if os.getuid() != 0:
        pytest.skip(
            "only root can act as another user; what the others test is then an ordinary user's already"
        )
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", USER], check=True)
        return pwd.getpwnam(USER)


@pytest.fixture
def installed(account, tmp_path_factory):
    """Penstock installed from its wheel and the lock, where the user can read it."""
    folder = Path("/var/tmp") / f"penstock-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    uv = Path(sys.executable).with_name("uv")
    lock = tmp_path_factory.mktemp("lock") / "server.txt"

    def run(*args):
        subprocess.run([uv, *args], check=True, capture_output=True, text=True, cwd=ROOT)

    # The build's own packages are in the lock as well, so nothing is fetched beside it.
    run("build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", str(folder))
    run("venv", "-q", "--python", PYTHON, str(folder / "venv"))
    lock.write_text((ROOT / "requirements.lock").read_text())
    python = str(folder / "venv/bin/python")
    run("pip", "install", "-q", "--python", python, "--require-hashes", "-r", str(lock))
    (wheel,) = folder.glob("*.whl")
    run("pip", "install", "-q", "--python", python, "--no-deps", str(wheel))
    yield folder
    shutil.rmtree(folder)


def test_a_job_of_an_ordinary_user(account, installed):
    home = installed / "home"
    home.mkdir()
    os.chown(home, account.pw_uid, account.pw_gid)
    script = home / "script.py"
    script.write_text(
        "import os, pathlib\n"
        "secret = pathlib.Path('/opt/ml/processing/input/data.txt').read_text()\n"
        "print('as', os.getuid(), os.listdir('/root'), os.path.exists('" + str(home) + "'))\n"
        "pathlib.Path('/opt/ml/processing/output/o/copy.txt').write_text(secret)\n"
    )
    (home / "data.txt").write_text("the data")
    keep = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_"))}
    env = {
        **keep,
        "HOME": str(home),
        "PATH": f"{installed}/venv/bin:/usr/bin:/bin",
        "PENSTOCK_HOME": str(home / "penstock"),
        "PENSTOCK_PORT": "10850",
        "UV_CACHE_DIR": str(home / "uv"),
    }

    def penstock(*args, code=0):
        command = [
            "setpriv",
            f"--reuid={account.pw_uid}",
            f"--regid={account.pw_gid}",
            "--init-groups",
            "penstock",
        ]
        done = subprocess.run(
            [*command, *args], env=env, capture_output=True, text=True, cwd=home, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    try:
        done = penstock(
            "run",
            "--input",
            "data.txt",
            "--output",
            f"o={home}/out",
            "--framework",
            "python==3.11",
            "script.py",
        )
        # Within its walls the program is root, as in SageMaker's images, and sees nothing of its user's home.
        assert "as 0 [] False" in done.stdout
        copy = home / "out" / "copy.txt"
        assert copy.read_text() == "the data"
        assert copy.stat().st_uid == account.pw_uid
        assert '"state": "missing"' not in penstock("doctor", "--json").stdout
        penstock("run", "--no-wait", "--name", "to-stop", str(script_that_sleeps(home)))
        penstock("stop", "to-stop")
        penstock("logs", "-f", "to-stop", code=4)
    finally:
        penstock("down")
    # Nothing that the user can't remove was left in their home.
    assert not [p for p in home.rglob("*") if p.lstat().st_uid not in {account.pw_uid, 0}]
    strangers = [p for p in (home / "penstock").rglob("*") if p.lstat().st_uid != account.pw_uid]
    assert strangers == []


def script_that_sleeps(folder):
    path = folder / "sleep.py"
    path.write_text("import time; time.sleep(600)")
    return path
