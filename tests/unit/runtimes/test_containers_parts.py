"""The parts of the container runtime that need no engine."""

import gc
import json
import socket

import pytest

from penstock.errors import ClientFailure, InternalFailure
from penstock.runtimes.containers import engine, image, sockets
from penstock.runtimes.containers.counts import Counts
from penstock.runtimes.containers.credentials import credentials, files
from penstock.runtimes.containers.engine import Engine
from penstock.runtimes.containers.pulling import Pulling

ENGINE = Engine("/none", "Podman", "4.3.1", "1.41", rootless=False, remapped=False, limits=frozenset())


def make_image(**changes):
    values = {
        "uri": "mine:1",
        "id": "sha256:1",
        "digest": None,
        "entrypoint": ("entry",),
        "command": ("cmd", "x"),
        "user": "",
        "working_directory": "/",
        "architecture": "amd64",
        "size": 1,
        "shell": True,
    }
    return image.Image(**{**values, **changes})


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "argv"),
    [
        ([], [], ("entry", "cmd", "x")),
        (["own"], [], ("own",)),
        ([], ["a", "b"], ("entry", "a", "b")),
        (["own"], ["a"], ("own", "a")),
    ],
)
def test_what_is_run_follows_dockers_rules(entrypoint, arguments, argv):
    assert make_image().argv(entrypoint, arguments) == argv


def test_an_image_that_says_nothing_needs_an_entrypoint():
    with pytest.raises(ClientFailure, match="neither ENTRYPOINT nor CMD"):
        make_image(entrypoint=(), command=()).argv([], [])


@pytest.mark.parametrize(
    ("user", "root"), [("", True), ("0:0", True), ("root", True), ("1000", False), ("app:root", False)]
)
def test_whether_an_image_is_roots(user, root):
    assert make_image(user=user).by_root is root


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("reading manifest 2 in r/x: manifest unknown", ClientFailure, "There is no image r/x:2 at r"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            ClientFailure,
            "Nobody is logged in",
        ),
        (
            "no matching manifest for linux/amd64 in the manifest list entries",
            ClientFailure,
            "not made for this machine's",
        ),
        ("dial tcp: lookup r: no such host", InternalFailure, "can't be reached"),
        ("write /var/lib: no space left on device", InternalFailure, "no room"),
        ("something new", InternalFailure, "something new"),
    ],
)
def test_why_a_pull_failed(said, kind, words):
    failure = image._refused(ENGINE, "r/x:2", "r", said, None)
    assert type(failure) is kind
    assert words in str(failure)


def test_a_log_in_at_aws_is_told_by_its_command():
    registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    failure = image._refused(ENGINE, f"{registry}/x:1", registry, "no basic auth credentials", None)
    assert (
        f"aws ecr get-login-password --region eu-west-1 | podman login --username AWS --password-stdin {registry}"
        in str(failure)
    )


def test_dockers_layers_become_lines_now_and_then():
    now = [0.0]
    pulling = Pulling(lambda: now[0])

    def take(**line):
        return [*pulling.take(line)]

    assert take(status="Pulling from library/x", id="latest") == []
    assert take(status="Pulling fs layer", id="a", progressDetail={}) == []
    assert take(status="Downloading", id="b", progressDetail={"current": 512, "total": 2048}) == []
    now[0] = 2.5
    assert take(status="Pull complete", id="a") == ["1 of 2 layers, 512 B of 2.0 KiB"]
    assert take(status="Extracting", id="b", progressDetail={"current": 1, "total": 9}) == []
    now[0] = 5
    assert take(status="Pull complete", id="b") == ["2 of 2 layers, 2.0 KiB of 2.0 KiB"]


def test_sockets_are_sought_in_order(monkeypatch):
    assert sockets.places({"DOCKER_HOST": "unix:///a", "CONTAINER_HOST": "unix:///b"}) == ["/a"]
    assert sockets.places({"CONTAINER_HOST": "unix:///b"}) == ["/b"]
    assert sockets.places({"DOCKER_HOST": "tcp://elsewhere:2375"}) == []
    usual = sockets.places({"XDG_RUNTIME_DIR": "/mine"})
    assert usual[:2] == ["/var/run/docker.sock", "/run/podman/podman.sock"]
    assert "/mine/podman/podman.sock" in usual


def test_who_does_not_listen_is_none(tmp_path):
    path = tmp_path / "socket"
    env = {"DOCKER_HOST": f"unix://{path}"}
    assert f"unix://{path}: no container engine can be reached" in sockets.lacking(env)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not sockets.listens(str(path))
        listener.listen()
        assert sockets.lacking(env) is None
        assert [*sockets.candidates(env)] == [str(path)]


def test_an_engine_that_does_not_listen_leaves_no_socket_open(tmp_path):
    gc.collect()  # whatever others have left
    with pytest.raises(InternalFailure, match=r"does not answer: .*No such file"):
        engine.ask(str(tmp_path / "socket"))
    gc.collect()  # an unclosed socket would be a warning, which is an error


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (125, r'does not work. It says: Error: could not find "netavark"$'),
        (0, r"does not answer: .*No such file"),
    ],
)
def test_a_podman_that_does_not_work_says_why(monkeypatch, tmp_path, status, told):
    podman = tmp_path / "podman"
    podman.write_text(f"#!/bin/sh\necho 'a warning\nError: could not find \"netavark\"' >&2\nexit {status}\n")
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "candidates", lambda: iter(()))
    monkeypatch.setattr(engine, "serve", lambda: str(tmp_path / "socket"))
    with pytest.raises(InternalFailure, match=told):
        engine.reach()


def test_another_machines_engine_is_refused():
    assert "needs one of this machine" in sockets.lacking({"DOCKER_HOST": "ssh://elsewhere"})


def test_without_engine_and_podman_the_command_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sockets, "places", lambda env: [str(tmp_path / "none")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install -y podman" in sockets.lacking({})


def test_podmans_log_ins_come_after_dockers(tmp_path):
    for place in (".docker/config.json", ".config/containers/auth.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(json.dumps({"auths": {f"r-{len(place)}": {"auth": "bWU6c2VjcmV0"}}}))
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert [path.name for path in files(env) if path.is_relative_to(tmp_path)] == ["config.json", "auth.json"]
    for place in (".docker/config.json", ".config/containers/auth.json"):
        assert credentials(f"r-{len(place)}", env)["username"] == "me"
    assert credentials("unknown", env) is None


@pytest.mark.parametrize(
    ("cgroup", "file", "text", "resource"),
    [
        (
            "3:memory:/box\n0::/x\n",
            "memory/box/memory.oom_control",
            "oom_kill_disable 0\noom_kill 2\n",
            "memory",
        ),
        ("0::/box\n", "box/memory.events", "low 0\noom 1\noom_kill 2\n", "memory"),
        ("4:pids:/box\n3:memory:/x\n0::/x\n", "pids/box/pids.events", "max 2\n", "processes"),
        ("0::/box\n", "box/pids.events", "max 2\n", "processes"),
    ],
)
def test_counts_are_read_off_either_kind_of_control_group(tmp_path, cgroup, file, text, resource):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text(cgroup)
    counts = Counts(7, tmp_path, tmp_path / "fs")
    assert counts.exceeded() == set()
    (tmp_path / "fs" / file).parent.mkdir(parents=True)
    (tmp_path / "fs" / file).write_text(text)
    assert counts.exceeded() == {resource}
    (tmp_path / "fs" / file).write_text(text.replace(" 2", " 0"))
    assert counts.exceeded() == set()
    assert Counts(0, tmp_path).exceeded() == set()
