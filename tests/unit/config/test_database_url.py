"""Where the database is: by a variable, or by the table `[database]` of config.toml, which may hold a password."""

import pytest

from penstock.engines.nursery import runner_environment
from penstock.errors import ConfigurationError

URL = "postgresql://penstock:the-secret@db.example/penstock"


def test_sqlite_unless_said(settings):
    assert settings("").database_url is None
    assert settings("[database]").database_url is None
    assert settings("", PENSTOCK_DATABASE_URL="").database_url is None


def test_a_variable_wins_over_the_file(settings):
    text = f'[database]\nurl = "{URL}"\n[s3]\nanonymous = true\n'
    assert settings(text).database_url == URL
    assert settings(text).s3.anonymous
    assert settings(text, PENSTOCK_DATABASE_URL="postgresql://other").database_url == "postgresql://other"


def test_a_file_that_others_can_read_is_refused(settings):
    with pytest.raises(ConfigurationError, match=r"password, and others can read it.*chmod 600") as raised:
        settings(f'[database]\nurl = "{URL}"\n', mode=0o644)
    assert "the-secret" not in str(raised.value)


def test_a_member_that_nobody_knows_is_named_with_its_line(settings):
    with pytest.raises(ConfigurationError, match=r"line 2: \[database\] has no member 'uri'"):
        settings("[database]\nuri = 'x'\n")


def test_the_password_stays_with_the_server(settings, monkeypatch):
    assert "the-secret" not in repr(settings("", PENSTOCK_DATABASE_URL=URL))
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", URL)
    assert "the-secret" not in str(runner_environment())
