import os
from contextlib import ExitStack

import pytest

from penstock.errors import InternalFailure
from penstock.runtimes import bubblewrap, tree
from penstock.runtimes.base import File, Link, Mount, Program
from penstock.runtimes.bubblewrap import Bubblewrap, nesting_can_be_refused


@pytest.fixture
def composed(monkeypatch, tmp_path):
    """A function that gives the command line, and what stands behind its --args, for a program."""
    monkeypatch.setattr(bubblewrap, "nesting_can_be_refused", lambda _: True)
    path = tmp_path / "bwrap"
    path.write_bytes(b"the program")

    def compose(**given):
        made = []
        monkeypatch.setattr(tree, "start", lambda composer, *_, **__: made.append(composer))
        Bubblewrap(str(path)).start(Program(**{"argv": ("x",), "environment": {}, "mounts": (), **given}), 1)
        with ExitStack() as stack:
            argv = made[0](tree.Channels(stack, stack))
            return argv, os.pread(int(argv[2]), 1 << 20, 0).decode().split("\0")[:-1]

    return compose


def test_the_environment_goes_by_descriptor_and_stands_in_no_argv(composed):
    argv, options = composed(environment={"KEY": "secret"})
    assert "secret" not in " ".join(argv)
    assert options[options.index("--setenv") :][:3] == ["--setenv", "KEY", "secret"]


def test_the_network_is_shared_unless_refused(composed):
    assert "--unshare-net" not in composed(network=True)[1]
    assert "--unshare-net" in composed(network=False)[1]


@pytest.mark.parametrize(
    "given",
    [
        {"argv": ("nosuch",), "environment": {"PATH": "/usr/bin"}},
        {"argv": ("env",)},  # bwrap's own PATH
        {"argv": ("env",), "environment": {"PATH": "/opt/bin:/usr/bin"}},  # which may have one
        {"argv": ("/opt/ml/env",)},
        {"argv": ("/usr/../opt/env",)},
        {"argv": ("bin/env",)},
        {"argv": ("/usr/bin",)},
        {"argv": ("/usr/share/dict",)},
        {"argv": ("/opt/tool",), "files": (File("/opt/tool", b"", 0o755),)},
        {"argv": ("/opt/tool",), "files": (Link("/opt/tool", "/opt/other"),)},
    ],
)
def test_what_may_not_be_executable_is_left_to_env(composed, given):
    assert composed(**given)[0][3:] == ["--", "/usr/bin/env", "--", *given["argv"]]


@pytest.mark.parametrize(
    "given",
    [
        {"argv": ("env", "x"), "environment": {"PATH": "/usr/local/nosuch:/usr/bin"}},
        {"argv": ("/usr/bin/env", "x")},
        {
            "argv": ("tool", "x"),
            "environment": {"PATH": "/opt/bin"},
            "files": (Link("/opt/bin/tool", "/usr/bin/env"),),
        },
    ],
)
def test_a_program_of_the_machine_is_executed_at_once(composed, given):
    assert composed(**given)[0][3:] == ["--", *given["argv"]]


def test_a_name_with_an_equals_sign_is_not_taken_for_a_variable(composed):
    assert composed(argv=("a=b", "c=d"))[0][-6:] == ["nice", "-n", "0", "--", "a=b", "c=d"]


@pytest.mark.parametrize(
    ("version", "can"),
    [("0.8.0", True), ("0.11.1", True), ("1.0", True), ("0.6.1", False), ("", False)],
)
def test_what_a_version_of_bubblewrap_can(tmp_path, version, can):
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
    bwrap.chmod(0o755)
    assert nesting_can_be_refused(str(bwrap)) == can


def test_as_root_bubblewrap_runs_from_a_copy_that_nobody_can_write_to(monkeypatch, tmp_path):
    path = tmp_path / "bwrap"
    path.write_bytes(b"the program")
    with ExitStack() as stack:
        sealed = f"/proc/self/fd/{tree.Channels(stack, stack).sealed(str(path))}"
        with open(sealed, "rb") as file:
            assert file.read() == b"the program"
        for flags in (os.O_WRONLY, os.O_RDWR):
            descriptor = os.open(sealed, flags)
            with pytest.raises(PermissionError):
                os.write(descriptor, b"x")
            os.close(descriptor)


def test_an_overlay_is_refused_with_what_to_do(composed, tmp_path):
    mounts = (Mount(tmp_path, "/opt/ml", upper=tmp_path / "upper"),)
    with pytest.raises(InternalFailure, match=r"/opt/ml: bubblewrap builds no overlays.*PENSTOCK_WALLS"):
        composed(mounts=mounts)
