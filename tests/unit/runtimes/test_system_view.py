import os

import pytest

from penstock.errors import ClientFailure, InternalFailure
from penstock.runtimes import shown, walls
from penstock.runtimes.base import File, Limits, Link, Mount, Program
from penstock.runtimes.steps import Bind, Copy, Folder, Overlay, Tmpfs
from penstock.runtimes.system import view


@pytest.fixture
def machine(tmp_path):
    for folder in (
        "usr/bin",
        "usr/lib",
        "lib64",
        "dev",
        "sys/devices/system/cpu",
        "etc/ssl/certs",
        "etc/ssl/private",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    for name in ("passwd", "shadow", "hosts", "services", "machine-id"):
        (tmp_path / "etc" / name).write_text(name)
    return tmp_path


def _program(**given):
    return Program(**{"argv": ("x",), "environment": {}, "mounts": (), **given})


def _paths(steps, kind):
    return {step.path: step for step in steps if isinstance(step, kind)}


def test_links_and_folders_of_the_system_are_reproduced_as_they_are(machine):
    steps = view(_program(), machine)
    assert Link("/bin", "usr/bin") in steps
    assert _paths(steps, Bind)["/lib64"] == Bind(str(machine / "lib64"), "/lib64")
    assert _paths(steps, Bind)["/usr"] == Bind(str(machine / "usr"), "/usr")
    assert "/sbin" not in {step.path for step in steps}


def test_of_etc_only_what_is_harmless_is_shown(machine):
    (machine / "etc/ssl/certs/a").write_bytes(b"x" * (128 * 1024 + 1))
    steps = view(_program(), machine)
    assert {path for path in _paths(steps, Bind) if path.startswith("/etc")} == {"/etc/ssl/certs"}
    assert set(_paths(steps, Copy)) == {"/etc/services"}
    assert set(_paths(steps, File)) == {"/etc/hosts", "/etc/hostname", "/etc/passwd", "/etc/group"}


def test_a_small_folder_of_etc_is_copied_and_a_large_one_shown(machine):
    java, perl = machine / "etc/java-17", machine / "etc/perl"
    for number in range(9):
        (java / f"{number}").mkdir(parents=True)
    (perl / "Net").mkdir(parents=True)
    (perl / "Net/libnet.cfg").write_text("{}")
    (perl / "run").write_text("#!/bin/sh\n")
    (perl / "run").chmod(0o700)
    (perl / "again").symlink_to("run")
    steps = [one for one in view(_program(), machine) if one.path.startswith(("/etc/java", "/etc/perl"))]
    assert steps == [
        Bind(str(java), "/etc/java-17"),
        Folder("/etc/perl"),
        Folder("/etc/perl/Net"),
        Copy(str(perl / "Net/libnet.cfg"), "/etc/perl/Net/libnet.cfg"),
        Link("/etc/perl/again", "run"),
        Copy(str(perl / "run"), "/etc/perl/run", 0o755),
    ]


def test_a_change_in_etc_is_seen_by_the_next_program(machine, monkeypatch):
    etc = machine / "etc"
    perl = etc / "perl"
    perl.mkdir()
    (etc / "resolv.conf").symlink_to(machine / "resolv")

    def seen():
        return {path: one.source for path, one in _paths(view(_program(), machine), Copy).items()}

    before = seen()
    assert before == {"/etc/services": str(etc / "services")}
    (machine / "resolv").write_text("nameserver ::1\n")  # the link led nowhere
    assert seen() == {**before, "/etc/resolv.conf": str(machine / "resolv")}
    (machine / "other").write_text("nameserver ::2\n")
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").symlink_to(machine / "other")
    assert seen() == {**before, "/etc/resolv.conf": str(machine / "other")}
    (machine / "other").unlink()
    (perl / "libnet.cfg").write_text("{}")
    assert seen() == {**before, "/etc/perl/libnet.cfg": str(perl / "libnet.cfg")}
    (etc / "services").unlink()
    (etc / "protocols").write_text("tcp")
    (perl / "libnet.cfg").unlink()
    assert seen() == {"/etc/protocols": str(etc / "protocols")}
    # Nothing is read again while nothing changes, and nothing has for a while.
    for folder in (etc, *(path for path in machine.rglob("*") if path.is_dir())):
        os.utime(folder, (0, 0))
    seen()
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail(path) if path == str(etc) else [])
    assert seen() == {"/etc/protocols": str(etc / "protocols")}


def test_a_change_is_seen_that_has_the_time_of_the_one_before(machine, monkeypatch):
    """As with kernels and file systems that tell only some times apart."""
    state = shown._state

    def coarse(path):
        told = state(path)
        return told and (*told[:4], *(at - at % 1_000_000_000 for at in told[4:]))

    monkeypatch.setattr(shown, "_state", coarse)
    for name in ("protocols", "rpc", "networks"):
        (machine / "etc" / name).write_text(name)
        assert f"/etc/{name}" in _paths(view(_program(), machine), Copy)


def test_a_folder_of_etc_is_shown_when_it_can_not_be_looked_through(machine, monkeypatch):
    perl = machine / "etc/perl"
    perl.mkdir()
    (perl / "libnet.cfg").write_text("{}")
    look = os.lstat

    def refused(path, **more):
        if str(path).endswith("libnet.cfg"):
            raise PermissionError(13, "Permission denied")
        return look(path, **more)

    monkeypatch.setattr(os, "lstat", refused)
    assert Bind(str(perl), "/etc/perl") in view(_program(), machine)


def test_a_file_of_etc_is_copied_unless_it_is_large(machine):
    (machine / "etc" / "mime.types").write_bytes(b"x" * (128 * 1024 + 1))
    steps = view(_program(), machine)
    assert Copy(str(machine / "etc/services"), "/etc/services") in steps
    assert Bind(str(machine / "etc" / "mime.types"), "/etc/mime.types") in steps


def test_nothing_of_the_machine_is_writable_but_the_mounts(machine):
    mounts = (Mount(machine, "/opt/ml", writable=True), Mount(machine / "usr", "/opt/tools"))
    steps = view(_program(mounts=mounts), machine)
    assert [step.path for step in steps if isinstance(step, Bind) and step.writable] == ["/opt/ml"]


def test_a_link_in_etc_is_followed_unless_it_leads_into_usr(machine):
    (machine / "run").mkdir()
    (machine / "run" / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (machine / "etc" / "resolv.conf").symlink_to("../run/resolv.conf")
    (machine / "etc" / "localtime").symlink_to("/usr/bin/env")
    (machine / "etc" / "timezone").symlink_to("nowhere")
    steps = view(_program(), machine)
    assert Copy(str(machine / "run/resolv.conf"), "/etc/resolv.conf") in steps
    assert Link("/etc/localtime", os.path.realpath("/usr/bin/env")) in steps
    assert "/etc/timezone" not in {step.path for step in steps}


def test_users_and_hosts_are_made_for_the_program(machine):
    files = _paths(view(_program(hostname="algo-2", hosts={"algo-1": "10.0.0.1"}), machine), File)
    assert files["/etc/hosts"].content.splitlines()[2:] == [b"127.0.0.1 algo-2", b"10.0.0.1 algo-1"]
    assert files["/etc/hostname"].content == b"algo-2\n"
    assert [line.split(b":")[0] for line in files["/etc/passwd"].content.splitlines()] == [b"root", b"nobody"]


def test_mounts_keep_their_order_and_come_after_all_else(machine):
    mounts = (
        Mount(machine / "usr", "/opt/ml"),
        Mount(machine / "etc", "/opt/ml/b"),
        Mount(machine / "sys", "/opt/ml/a"),
    )
    steps = view(_program(mounts=mounts, working_directory="/opt/ml/a"), machine)
    assert [step.path for step in steps[-6:] if isinstance(step, Bind)] == [
        "/opt/ml",
        "/opt/ml/b",
        "/opt/ml/a",
    ]
    assert steps[-1] == Folder("/opt/ml/a")


def test_a_folder_is_made_once_and_again_where_a_mount_has_hidden_it(machine):
    source = machine / "usr"
    targets = ("/opt/a/b/c", "/opt/a/b/d", "/opt/a", "/opt/a/b/e", "/opt/ab")
    steps = view(Program(("x",), {}, tuple(Mount(source, one) for one in targets)), machine)
    made = [one.path for one in steps if isinstance(one, Folder | Bind) and one.path.startswith("/opt")]
    assert made == ["/opt", "/opt/a/b", *targets[:3], "/opt/a/b", *targets[3:]]


def test_the_source_of_a_mount_is_shown_without_links(machine):
    (machine / "link").symlink_to(machine / "usr")
    steps = view(_program(mounts=(Mount(machine / "link", "/opt/ml"),)), machine)
    assert Bind(str(machine / "usr"), "/opt/ml") in steps


def test_only_the_graphics_cards_own_devices_are_shown(machine):
    (machine / "dev" / "nvidia0").symlink_to("/dev/null")  # a character device without being root
    (machine / "dev" / "nvidia1").write_text("not a device")
    (machine / "dev" / "sda").symlink_to("/dev/null")
    devices = [step.path for step in view(_program(), machine) if isinstance(step, Bind) and step.device]
    assert devices == ["/dev/nvidia0"]


@pytest.mark.parametrize(
    ("gpus", "seen"),
    [
        (None, ["nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1"]),
        ((2, 1), ["nvidia2", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1"]),
        ((), []),
    ],
)
def test_a_program_sees_its_own_graphics_cards_alone(machine, gpus, seen):
    (machine / "dev" / "nvidia-caps").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1"):
        (machine / "dev" / name).symlink_to("/dev/null")
    steps = view(_program(limits=Limits(gpus=gpus)), machine)
    assert [step.path for step in steps if isinstance(step, Bind) and step.device] == [
        f"/dev/{n}" for n in seen
    ]


def test_shared_memory_has_a_size_when_one_is_given(machine):
    assert Tmpfs("/dev/shm", 4096) in view(_program(limits=Limits(shared_memory=4096)), machine)
    assert not [step for step in view(_program(), machine) if isinstance(step, Tmpfs)]


@pytest.mark.parametrize(
    ("given", "failure"),
    [
        ({"argv": ()}, ClientFailure),
        ({"argv": ("",)}, ClientFailure),
        ({"argv": ("x", "a\0b")}, ClientFailure),
        ({"environment": {"": "x"}}, ClientFailure),
        ({"environment": {"A=B": "x"}}, ClientFailure),
        ({"environment": {"A": "secret\0"}}, ClientFailure),
        ({"working_directory": "here"}, InternalFailure),
        ({"mounts": (Mount("/usr", "/opt/../etc"),)}, InternalFailure),
    ],
)
def test_what_cannot_be_carried_out_is_refused_without_repeating_values(machine, given, failure):
    with pytest.raises(failure) as refusal:
        view(_program(**given), machine)
    assert "secret" not in str(refusal.value)


def test_a_source_that_is_not_there_is_named(machine):
    with pytest.raises(InternalFailure, match=r"gone.*/opt/ml"):
        view(_program(mounts=(Mount(machine / "gone", "/opt/ml"),)), machine)


def test_an_upper_folder_makes_a_mount_an_overlay_and_gets_what_overlayfs_needs(machine):
    upper = machine / "of the run" / "upper"
    steps = view(_program(mounts=(Mount(machine / "usr", "/opt/ml/in", upper=upper),)), machine)
    assert Overlay(str(machine / "usr"), "/opt/ml/in", str(upper)) in steps
    assert {path.name for path in upper.iterdir()} == {"files", "work"}


def test_no_step_is_passed_over_in_silence():
    """A server may be upgraded while runners of the version before go on, and call what is there by then."""
    with pytest.raises(ValueError, match="no step of these walls: file of 2"):
        walls._carry_out("file", "/etc/hosts", b"")
