"""A Podman of the tests' own: its images, its containers and its socket lie in a folder that goes with it."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from docker.errors import APIError

from penstock.runtimes.containers import engine, image
from penstock.runtimes.containers.sockets import listens
from penstock.testing.host_image import write_host_image

#: Names the socket of an engine to be used in the place of one's own.
OTHERS = "PENSTOCK_TEST_SOCKET"
IMAGE = "docker.io/penstock/host:latest"


def lacking():
    """Why there is none here; None: there is. Where PENSTOCK_TESTS_NEED names it, that is a failure."""
    problem = _lacking()
    if problem and "podman" in os.environ.get("PENSTOCK_TESTS_NEED", ""):
        raise RuntimeError(problem)
    return problem


def _lacking():
    if shutil.which("podman") is None:
        return "podman is not installed"
    if shutil.which("runc") is None and shutil.which("crun") is None:
        return "neither runc nor crun is installed"
    return None


class Podman:
    """A service of Podman's, as whoever runs the tests."""

    def __init__(self, folder, socket=None):
        """`socket`: one that is up already is used, and has the image."""
        self.folder = Path(folder)
        self.socket = socket or str(self.folder / "socket")
        if socket:
            self.engine = engine.ask(socket)
            return
        runtime = (
            "runc" if shutil.which("runc") else "crun"
        )  # crun refuses where both versions of cgroups are mounted
        (self.folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
            f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            # Locks of its own: those in /dev/shm are all Podmans', and who resets one takes them from the others.
            f'lock_type = "file"\ntmp_dir = "{self.folder / "tmp"}"\n'
        )
        root = self.folder / "storage"
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}"\nrootless_storage_path = "{root}"\n'
            f'runroot = "{self.folder / "run"}"\n'
        )
        (self.folder / "registries.conf").write_text(
            '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
            '[[registry]]\nprefix = "*.127.0.0.1"\nlocation = "127.0.0.1"\ninsecure = true\n'
        )
        (self.folder / "xdg").mkdir(mode=0o700, exist_ok=True)
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if k not in {"DOCKER_HOST", "CONTAINER_HOST", "REGISTRY_AUTH_FILE"}
            },
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "XDG_RUNTIME_DIR": str(self.folder / "xdg"),
            "TMPDIR": str(self.folder),
        }

    def __enter__(self):
        self.start_service()
        self.engine = engine.ask(self.socket, self.folder / "notes")
        self._bring_image()
        return self

    def start_service(self):
        """Returns when it listens."""
        with (self.folder / "service.log").open("ab") as log:
            self._service = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{self.socket}"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not listens(self.socket):  # it says nothing when it is up
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._service.wait(0.02)
                raise RuntimeError((self.folder / "service.log").read_text())

    def stop_service(self):
        """As by a crash; containers live on."""
        os.killpg(self._service.pid, signal.SIGKILL)  # a rootless one is two processes
        self._service.wait()
        Path(self.socket).unlink()

    def __exit__(self, *_):
        client = self.engine.client()
        for one in client.containers(all=True):
            with contextlib.suppress(APIError):  # its reaper was quicker
                client.remove_container(one["Id"], force=True, v=True)
        client.close()
        self._service.send_signal(signal.SIGTERM)
        self._service.wait(30)
        self.command("system", "reset", "--force")
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words, **options):
        """Podman's own command line on the same storage."""
        return subprocess.run(
            ["podman", *words], env=self.environment, capture_output=True, text=True, timeout=120, **options
        )

    def let_in(self):
        """Let every user speak to it, as Docker lets those of its group."""
        self.folder.chmod(0o711)
        Path(self.socket).chmod(0o666)

    def containers(self):
        """The ids of all containers that there are."""
        client = self.engine.client()
        try:
            return [one["Id"] for one in client.containers(all=True)]
        finally:
            client.close()

    def image(self, uri=IMAGE):
        """An image that is there, as the runtime wants it."""
        return image.obtain(
            self.engine,
            uri,
            always=False,
            notes=self.folder / "notes",
            progress=print,
            cancelled=lambda: False,
        )

    def variant(self, name, *changes):
        """The image with other ENTRYPOINT, CMD, USER, ENV ...; its name."""
        client = self.engine.client()
        made = client.create_container(IMAGE, entrypoint=["/bin/true"])["Id"]
        client.commit(made, repository=f"docker.io/penstock/{name}", tag="latest", changes=list(changes))
        client.remove_container(made, force=True)
        client.close()
        return f"docker.io/penstock/{name}:latest"

    def _bring_image(self):
        tar = self.folder / "image.tar"
        write_host_image(tar)
        client = self.engine.client()
        with tar.open("rb") as file:
            client.import_image_from_data(file.read(), repository="docker.io/penstock/host", tag="latest")
        client.close()
        tar.unlink()


@contextlib.contextmanager
def podman():
    """One that is gone afterwards. Short paths: a socket's has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-", ignore_cleanup_errors=True) as folder:
        if OTHERS in os.environ:
            yield Podman(folder, os.environ[OTHERS])
        else:
            with Podman(folder) as one:
                yield one


def wait_for(condition, seconds=30):
    """Whether it came true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
