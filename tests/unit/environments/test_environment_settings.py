"""pip's settings, as uv and as a job's own pip get them."""

import os

import pytest

from penstock.environments.settings import fingerprint, pip_environment, pip_settings, uv_environment


@pytest.fixture
def home(tmp_path):
    """A home whose machine-wide pip.conf is one of its own; /etc/pip.conf of the real machine is read as well."""
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / "xdg/pip").mkdir(parents=True)
    return tmp_path


def environ(home, **more):
    return {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), "PATH": "/usr/bin", **more}


def test_the_order_is_pips(home):
    (home / "xdg/pip/pip.conf").write_text(
        "[global]\nindex-url = https://machine/\nproxy = http://machine:1\n"
    )
    (home / ".config/pip/pip.conf").write_text(
        "[global]\nindex-url = https://user/\n[install]\ntimeout = 7\n"
    )
    own = home / "own.conf"
    own.write_text("[global]\nindex_url = https://file/\ntimeout = 8\n")
    assert pip_settings(environ(home))["index-url"] == "https://user/"
    settings = pip_settings(environ(home, PIP_CONFIG_FILE=str(own)))
    assert settings["index-url"] == "https://file/"
    assert settings["proxy"] == "http://machine:1"
    # [install] goes over [global] of a later file.
    assert settings["timeout"] == "7"
    assert pip_settings(environ(home, PIP_INDEX_URL="https://variable/"))["index-url"] == "https://variable/"


def test_devnull_as_config_file_turns_all_files_off(home):
    (home / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://user/\n")
    assert pip_settings(environ(home, PIP_CONFIG_FILE=os.devnull)) == {}


def test_missing_local_folders_are_left_out(home):
    wheels = home / "wheels"
    wheels.mkdir()
    env = environ(
        home,
        PIP_CONFIG_FILE=os.devnull,
        PIP_EXTRA_INDEX_URL=f"file:///nowhere/simple\n  {wheels.as_uri()} https://extra/",
        PIP_FIND_LINKS=f"{wheels} /nowhere",
    )
    assert pip_settings(env) == {
        "extra-index-url": f"{wheels.as_uri()} https://extra/",
        "find-links": str(wheels),
    }
    assert pip_settings(environ(home, PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="/nowhere")) == {}


def test_a_broken_file_says_nothing(home):
    (home / ".config/pip/pip.conf").write_text("index-url = no section\n")
    assert "index-url" not in pip_settings({**environ(home)})


def test_uv_gets_pips_settings_in_its_own_words(home):
    env = environ(
        home,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="https://one/",
        PIP_EXTRA_INDEX_URL="https://two/ https://three/",
        PIP_FIND_LINKS=f"{home} https://four/",
        PIP_NO_INDEX="true",
        PIP_CERT="/etc/hosts",
        PIP_TRUSTED_HOST="one two",
        PIP_DEFAULT_TIMEOUT="9",
    )
    expected = {
        "UV_DEFAULT_INDEX": "https://one/",
        "UV_INDEX": "https://two/ https://three/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{home},https://four/",
        "UV_NO_INDEX": "1",
        "SSL_CERT_FILE": "/etc/hosts",
        "UV_INSECURE_HOST": "one two",
        "UV_HTTP_TIMEOUT": "9",
    }
    assert expected.items() <= uv_environment(env).items()


def test_what_is_said_to_uv_itself_wins(home):
    env = environ(
        home,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="https://one/",
        UV_DEFAULT_INDEX="https://mine/",
        PIP_EXTRA_INDEX_URL="https://two/",
        UV_INDEX_STRATEGY="first-index",
    )
    got = uv_environment(env)
    assert got["UV_DEFAULT_INDEX"] == "https://mine/"
    assert got["UV_INDEX"] == "https://two/"
    assert got["UV_INDEX_STRATEGY"] == "first-index"


def test_without_extra_indexes_uvs_own_strategy_stays(home):
    assert "UV_INDEX_STRATEGY" not in uv_environment(environ(home, PIP_CONFIG_FILE=os.devnull))


def test_uv_inherits_no_secret_and_no_other_python(home):
    env = environ(
        home,
        AWS_SECRET_ACCESS_KEY="secret",  # it is none
        PENSTOCK_S3_SECRET_ACCESS_KEY="secret",  # nor this
        PYTHONPATH="/x",
        VIRTUAL_ENV="/y",
        UV_PYTHON="3.6",
        HTTPS_PROXY="http://proxy:1",
    )
    got = uv_environment(env)
    assert (
        not {"AWS_SECRET_ACCESS_KEY", "PENSTOCK_S3_SECRET_ACCESS_KEY", "PYTHONPATH", "VIRTUAL_ENV"}
        & got.keys()
    )
    assert "UV_PYTHON" not in got
    assert got["HTTPS_PROXY"] == "http://proxy:1"


def test_a_jobs_pip_gets_variables_and_the_paths_they_speak_of(home):
    wheels = home / "my wheels"
    wheels.mkdir()
    env = environ(
        home,
        PIP_CONFIG_FILE=os.devnull,
        PIP_EXTRA_INDEX_URL=f"{wheels.as_uri()} https://user:pw@two/",
        PIP_TIMEOUT="9",
    )
    variables, paths = pip_environment(env)
    assert variables["PIP_EXTRA_INDEX_URL"] == f"{wheels.as_uri()} https://user:pw@two/"
    assert variables["PIP_TIMEOUT"] == "9"
    assert paths == [str(wheels)]


def test_the_fingerprint_follows_the_indexes_and_nothing_else(home):
    plain = environ(home, PIP_CONFIG_FILE=os.devnull)
    assert fingerprint(plain) == fingerprint({**plain, "LANG": "C", "UV_CACHE_DIR": "/x"})
    assert fingerprint(plain) != fingerprint({**plain, "PIP_INDEX_URL": "https://one/"})
    assert fingerprint(plain) != fingerprint({**plain, "UV_FIND_LINKS": "/opt"})
