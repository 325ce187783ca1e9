import os
from pathlib import Path

import pytest

from penstock.data.local import find, has_mounts_below
from penstock.errors import ClientFailure
from penstock.job.run import Run

IN = "/opt/ml/processing/in"


def wanted(uri, **more):
    return {"InputName": "x", "S3Input": {"S3Uri": uri, "LocalPath": IN, **more}}


@pytest.fixture
def data(tmp_path):
    """An allowed folder with a folder of data in it, beside a home that is closed."""
    folder = tmp_path / "allowed" / "train set"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("1")
    (tmp_path / "allowed" / "home").mkdir()
    (tmp_path / "secret").mkdir()
    return folder


@pytest.fixture
def look(data, tmp_path):
    def look(uri, allowed=None, **more):
        folders = [str(tmp_path / "allowed")] if allowed is None else allowed
        return find([wanted(str(uri), **more)], folders, [tmp_path / "allowed" / "home"])

    return look


def refused(look, uri, *words, **more):
    with pytest.raises(ClientFailure) as caught:
        look(uri, **more)
    assert all(word in str(caught.value) for word in ("Input 'x'", *words)), caught.value


def test_a_folder_and_a_file_are_mounted_from_where_they_lie(look, data):
    (folder,) = look(data.as_uri())
    assert (folder.mount, folder.local_path, folder.local) == (str(data), IN, True)
    assert (folder.uri, folder.objects) == (f"file://{str(data).replace(' ', '%20')}", None)
    (file,) = look((data / "a.csv").as_uri())
    assert file.mount == str(data / "a.csv")


def test_s3_and_app_managed_inputs_are_left_alone(data):
    inputs = [wanted("s3://b/k"), {**wanted(data.as_uri()), "AppManaged": True}, {"InputName": "d"}]
    assert find(inputs, [str(data)], []) == []


def test_nothing_is_allowed_unless_said(look, data):
    refused(look, data.as_uri(), "PENSTOCK_LOCAL_INPUTS", allowed=[])


@pytest.mark.parametrize("uri", ["file://data", "file:///a/../etc", "file://", "file:///%2e%2e/etc"])
def test_only_absolute_paths_without_a_way_up_are_taken(look, uri):
    refused(look, uri, "no absolute path", allowed=["/"])


def test_a_neighbour_of_an_allowed_folder_is_not_allowed(look, tmp_path):
    (tmp_path / "allowed-too").mkdir()
    refused(look, (tmp_path / "allowed-too").as_uri(), "in none of the folders")


def test_a_link_does_not_lead_outside(look, data, tmp_path):
    (data / "link").symlink_to(tmp_path / "secret")
    refused(look, (data / "link").as_uri(), "in none of the folders")
    (tmp_path / "allowed" / "train").symlink_to(data)
    (one,) = look((tmp_path / "allowed" / "train").as_uri())
    assert one.mount == str(data)


@pytest.mark.parametrize("place", ["allowed", "allowed/home", "allowed/home/keys.json"])
def test_what_is_closed_is_neither_an_input_nor_in_one(look, tmp_path, place):
    (tmp_path / "allowed/home/keys.json").write_text("secret")
    refused(look, (tmp_path / place).as_uri(), "home")


@pytest.mark.parametrize("path", ["/proc/self", "/proc/1/root", "/etc", "/dev/shm", "/sys/devices", "/"])
def test_the_machines_state_is_no_data_whatever_is_allowed(look, path):
    refused(look, f"file://{path}", allowed=["/"])


def test_hidden_folders_and_folders_with_keys_are_refused(look, data, tmp_path):
    (data / ".cache").mkdir()
    refused(look, (data / ".cache").as_uri(), "hidden")
    assert look((data / ".cache").as_uri(), allowed=[str(data / ".cache")])  # said by name
    (data / ".ssh").mkdir()
    refused(look, data.as_uri(), ".ssh")


def test_what_is_not_there_or_no_data_is_told(look, data):
    refused(look, (data / "gone").as_uri(), "No such file")
    os.mkfifo(data / "pipe")
    refused(look, (data / "pipe").as_uri(), "neither a folder nor a file")


@pytest.mark.parametrize(
    "more",
    [{"S3DataDistributionType": "ShardedByS3Key"}, {"S3DataType": "ManifestFile"}, {"S3InputMode": "Pipe"}],
)
def test_what_a_mount_can_not_do_is_refused(look, data, more):
    refused(look, data.as_uri(), "can only be", **more)


def test_a_fifo_that_a_local_folder_would_hide_is_refused(data, tmp_path):
    local = wanted(data.as_uri())

    def pipe(place):
        given = {"S3Uri": "s3://b/k", "LocalPath": place, "S3InputMode": "Pipe"}
        return {"InputName": "p", "S3Input": given}

    with pytest.raises(ClientFailure, match=r"Input 'p' is streamed, .* LocalPath of input 'x'"):
        find([local, pipe(f"{IN}/p")], [str(data)], [])
    assert len(find([local, pipe(f"{IN}-p")], [str(data)], [])) == 1


def test_mounts_below_a_folder_are_noticed(tmp_path):
    assert has_mounts_below(Path("/"))
    assert not has_mounts_below(tmp_path)


def test_a_run_of_an_older_server_allows_nothing():
    assert Run.__dataclass_fields__["local_inputs"].default == ()
