import pytest

from penstock.config import DEFAULT_CACHE_BYTES, Settings
from penstock.errors import ConfigurationError


def test_no_folder_may_be_an_input_unless_said():
    assert Settings.read({}).local_inputs == ()
    read = Settings.read({"PENSTOCK_LOCAL_INPUTS": "/data/:/srv/a b:"})
    assert read.local_inputs == ("/data", "/srv/a b")


@pytest.mark.parametrize("folder", ["data", "~/data", "/data:more"])
def test_folders_are_absolute(folder):
    with pytest.raises(ConfigurationError, match=r"PENSTOCK_LOCAL_INPUTS.*no absolute path"):
        Settings.read({"PENSTOCK_LOCAL_INPUTS": folder})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_a_server_for_others_opens_no_folders(host):
    with pytest.raises(ConfigurationError, match="loopback PENSTOCK_HOST"):
        Settings.read({"PENSTOCK_LOCAL_INPUTS": "/data", "PENSTOCK_HOST": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_a_server_on_loopback_may(host):
    read = Settings.read({"PENSTOCK_LOCAL_INPUTS": "/data", "PENSTOCK_HOST": host})
    assert read.local_inputs == ("/data",)


def test_the_size_of_the_cache():
    assert Settings.read({}).cache_bytes == DEFAULT_CACHE_BYTES
    assert Settings.read({"PENSTOCK_CACHE_BYTES": "0"}).cache_bytes == 0
    with pytest.raises(ConfigurationError, match="PENSTOCK_CACHE_BYTES"):
        Settings.read({"PENSTOCK_CACHE_BYTES": "1G"})


def test_what_there_is_to_give_may_be_said():
    plain = Settings.read({})
    assert (plain.cpus, plain.memory, plain.gpus, plain.strict_resources) == (None, None, None, False)
    said = {
        "PENSTOCK_CPUS": "6",
        "PENSTOCK_MEMORY": "48G",
        "PENSTOCK_GPUS": "0",
        "PENSTOCK_STRICT_RESOURCES": "1",
    }
    read = Settings.read(said)
    assert (read.cpus, read.memory, read.gpus, read.strict_resources) == (6, 48 << 30, 0, True)
    with pytest.raises(ConfigurationError, match="PENSTOCK_CPUS"):
        Settings.read({"PENSTOCK_CPUS": "0"})
