"""An engine for containers and Docker Compose, for what is measured against them: found, or had for the run alone.

The engine is the one of DOCKER_HOST, else Podman's service with a storage, a socket and a network namespace of its own.
Compose is what is on PATH, else the one of Debian's release that has version 2, unpacked into this project's cache.
"""

import contextlib
import http.client
import io
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "bench-compose"
IMAGE = "penstock/bench:1"
#: Debian's release whose docker-compose is of version 2, and runs on the one before, too.
RELEASE = "trixie"
#: What containers of a machine whose own limits are lower can be started with.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
"""


class NotToBeHadError(Exception):
    """There is no engine, or no Compose; the text says what was tried."""


@contextlib.contextmanager
def engine():
    """The environment in which `docker` and `docker-compose` work and IMAGE is there: this Python and nothing else."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tools = CACHE / "bin"
    tools.mkdir(exist_ok=True)
    environ = {"PATH": f"{tools}:{os.environ['PATH']}"}
    if not shutil.which("docker-compose"):
        get_compose(tools)
    with contextlib.ExitStack() as stack:
        if given := os.environ.get("DOCKER_HOST"):
            environ["DOCKER_HOST"] = given
        else:
            environ["DOCKER_HOST"] = stack.enter_context(podman(tools))
        import_image(environ)
        yield environ


def get_compose(tools):
    program = tools / "docker-compose"
    if program.exists():
        return
    if not shutil.which("apt-get"):
        raise NotToBeHadError("There is no docker-compose on PATH, and no apt-get to have it by.")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        mirror = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        uris = [line.split()[2] for line in mirror.splitlines() if line.startswith("main ")]
        [keys] = list(Path("/usr/share/keyrings").glob("debian-archive-keyring.gpg")) or [None]
        if not uris or keys is None:
            raise NotToBeHadError("There is no docker-compose on PATH, and this is no Debian.")
        sources = Path(folder, "sources.list")
        options = [f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=/dev/null"]
        for option, name in (("State::lists", "lists/partial"), ("Cache", "cache/archives/partial")):
            Path(folder, name).mkdir(parents=True)
            options.append(f"Dir::{option}={folder}/{name.partition('/')[0]}")
        apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
        for uri in dict.fromkeys(uris):  # a mirror of security fixes has no release of that name
            sources.write_text(f"deb [signed-by={keys}] {uri} {RELEASE} main\n")
            done = [
                subprocess.run(
                    [*apt, *words], cwd=folder, capture_output=True, timeout=200, check=False
                ).returncode
                for words in (["update"], ["download", "docker-compose"])
            ]
            if done[-1] == 0:
                break
        packages = list(Path(folder).glob("docker-compose_*.deb"))
        if not packages:
            raise NotToBeHadError(
                f"There is no docker-compose on PATH, and none in {RELEASE} of {', '.join(uris)}."
            )
        subprocess.run(["dpkg", "-x", packages[0], folder], check=True)
        found = Path(folder, "usr").rglob("docker-compose")
        found = next(path for path in found if path.is_file() and os.access(path, os.X_OK))
        shutil.move(found, program)


@contextlib.contextmanager
def podman(tools):
    """The address of a Podman service that keeps its images, containers and networks to itself."""
    if not shutil.which("podman"):
        raise NotToBeHadError("There is neither a DOCKER_HOST nor a Podman.")
    if os.getuid() != 0:
        raise NotToBeHadError(
            "Podman's service is started here for root alone; set DOCKER_HOST to one of your own."
        )
    with (
        tempfile.TemporaryDirectory(
            prefix="pb", ignore_cleanup_errors=True
        ) as folder,  # Podman allows 50 characters
        tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as storage,
    ):
        conf = Path(folder, "containers.conf")
        runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
        conf.write_text(CONTAINERS_CONF + runtime)
        base = ["podman", "--root", storage, "--runroot", f"{folder}/run"]
        environ = {**os.environ, "CONTAINERS_CONF": str(conf)}
        address = f"unix://{folder}/podman.sock"
        if not shutil.which("docker"):
            shim = tools / "docker"
            shim.write_text('#!/bin/sh\nexec podman --remote --url "$DOCKER_HOST" "$@"\n')
            shim.chmod(0o755)
        service = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
             *base, "system", "service", "--time=0", address],
            env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            wait_for(Path(folder, "podman.sock"), service)
            yield address
        finally:
            for words in (["rm", "-af", "-t", "0"], ["rmi", "-af"]):
                subprocess.run([*base, *words], env=environ, capture_output=True, timeout=120, check=False)
            service.terminate()
            service.wait(30)


def wait_for(path, service):
    deadline = time.monotonic() + 60
    while True:
        if service.poll() is not None:
            raise NotToBeHadError(f"Podman's service has ended: {service.stderr.read().decode().strip()}")
        if time.monotonic() > deadline:
            raise NotToBeHadError("Podman's service does not answer.")
        with contextlib.suppress(OSError, http.client.HTTPException), socket.socket(socket.AF_UNIX) as end:
            end.connect(str(path))
            end.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b"200" in end.recv(64):
                return
        time.sleep(0.05)


def import_image(environ):
    """An image of this machine's Python: the interpreter, its library and what both are linked against."""
    done = subprocess.run(
        ["docker", "import", "-", IMAGE],
        input=archive(),
        env={**os.environ, **environ},
        capture_output=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise NotToBeHadError(f"The engine takes no image: {done.stderr.decode().strip()}")


def archive():
    python = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    extensions = list((library / "lib-dynload").glob("*.so"))
    told = subprocess.run(["ldd", python, *extensions], capture_output=True, text=True, check=True).stdout
    linked = {word for word in told.split() if word.startswith("/") and not word.endswith(":")}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:

        def keep(member):
            left_out = ("/site-packages", "/dist-packages", "/test", "/__pycache__")
            return None if member.name.endswith(left_out) else member

        tar.add(library, filter=keep)
        for path in sorted(linked | {str(python)}):
            tar.add(os.path.realpath(path), arcname=path)
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(python)
        tar.addfile(link)
        for name in ("tmp", "opt", "opt/ml", "etc", "proc", "sys", "dev"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
    return packed.getvalue()
