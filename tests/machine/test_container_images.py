"""Images: pulled by a real Podman from a registry of the tests' own, and what goes wrong with that."""

import base64
import json
import stat

import pytest
from podman import IMAGE, lacking, podman
from registry import registry

from penstock.errors import ClientFailure, InternalFailure
from penstock.runtimes.containers import image

pytestmark = [pytest.mark.machine, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]


@pytest.fixture(scope="module")
def engine():
    with podman() as one:
        yield one


@pytest.fixture
def obtain(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    said = []

    def call(uri, always=False, cancelled=lambda: False):
        said.clear()
        return image.obtain(
            engine.engine,
            uri,
            always=always,
            notes=tmp_path / "notes",
            progress=said.append,
            cancelled=cancelled,
        )

    call.said = said
    return call


@pytest.fixture
def source():
    with registry() as one:
        yield one


def test_an_image_is_pulled_once_and_its_digest_told(obtain, source):
    digest = source.add("team/data:1", layers=3)
    found = obtain(f"{source.address}/team/data:1")
    assert (found.digest, found.command, found.shell) == (digest, ("/file-0",), False)
    assert obtain.said[0].startswith(f"Pulling the image {source.address}/team/data:1 by Podman")
    assert obtain.said[-1].startswith("Pulled ")
    source.asked.clear()
    assert obtain(f"{source.address}/team/data:1") == found
    assert (source.asked, obtain.said) == ([], [])


def test_always_asks_for_what_the_name_means_now(obtain, source):
    first = source.add("moving:latest", size=1000)
    assert obtain(f"{source.address}/moving").digest == first
    second = source.add("moving:latest", size=2000)
    assert obtain(f"{source.address}/moving").digest == first
    assert obtain(f"{source.address}/moving", always=True).digest == second


def test_an_image_by_its_digest(obtain, source):
    digest = source.add("pinned:1")
    source.add("pinned:1", size=5000)
    assert obtain(f"{source.address}/pinned@{digest}").digest == digest


def test_a_tag_that_is_not_there(obtain, source):
    source.add("team/data:1")
    with pytest.raises(ClientFailure, match=rf"There is no image {source.address}/team/data:2"):
        obtain(f"{source.address}/team/data:2")


def test_nobody_is_logged_in(obtain):
    with registry(login=("me", "secret")) as source:
        source.add("private:1")
        with pytest.raises(ClientFailure, match=rf"Nobody is logged in.*podman login {source.address}"):
            obtain(f"{source.address}/private:1")


@pytest.mark.parametrize("place", [".docker/config.json", ".config/containers/auth.json"])
def test_the_usual_log_ins_are_used(obtain, tmp_path, place):
    with registry(login=("me", "secret")) as source:
        digest = source.add(f"private{place.count('c')}:1")
        auth = {"auths": {source.address: {"auth": base64.b64encode(b"me:secret").decode()}}}
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(json.dumps(auth))
        assert obtain(f"{source.address}/private{place.count('c')}:1").digest == digest


def test_a_log_in_that_is_refused(obtain, tmp_path):
    with registry(login=("me", "secret")) as source:
        source.add("private:1")
        auth = {"auths": {source.address: {"auth": base64.b64encode(b"me:wrong").decode()}}}
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(json.dumps(auth))
        with pytest.raises(ClientFailure, match="The log-in of me is refused"):
            obtain(f"{source.address}/private:1")


def test_a_credential_helper_is_asked(obtain, tmp_path, monkeypatch):
    with registry(login=("me", "secret")) as source:
        digest = source.add("helped:1")
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {source.address: "test"}}))
        with pytest.raises(ClientFailure, match="credential helper"):
            obtain(f"{source.address}/helped:1")
        helper = tmp_path / "docker-credential-test"
        helper.write_text('#!/bin/sh\ncat >/dev/null\necho \'{"Username": "me", "Secret": "secret"}\'\n')
        helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert obtain(f"{source.address}/helped:1").digest == digest


def test_an_image_for_other_processors(obtain, source):
    source.add("foreign:1", architecture="s390x")
    with pytest.raises(ClientFailure, match="made for s390x processors"):
        obtain(f"{source.address}/foreign:1")


def test_a_registry_that_cannot_be_reached(obtain):
    with pytest.raises(InternalFailure, match=r"The registry 127.0.0.1:1 .* can't be reached"):
        obtain("127.0.0.1:1/any:1")


def test_a_pull_may_be_cancelled(obtain, source):
    source.add("large:1", layers=2, size=1 << 20)
    assert obtain(f"{source.address}/large:1", cancelled=lambda: True) is None


def test_what_is_there_needs_no_registry(obtain):
    assert obtain(IMAGE).shell
    assert obtain.said == []
