"""Stores of the user's own: the table `[s3]` of config.toml, the buckets in it, and the variables over both."""

import pytest

from penstock.config import Settings
from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.own import bucket_sources, source

KEYS = 'access_key_id = "id"\nsecret_access_key = "the-secret"\n'


def accesses(settings):
    """The default store, and those of single buckets."""
    return source(settings.s3, settings.region)() if settings.s3 else None, dict(bucket_sources(settings)())


def test_without_a_file_or_a_store_in_it_the_embedded_one_is_used(settings, tmp_path):
    assert Settings.read({"PENSTOCK_HOME": str(tmp_path)}).s3 is None
    assert settings("").s3 is None
    assert settings('[s3]\nregion = "x"\n').s3 is None


def test_a_store_and_a_bucket_elsewhere(settings, tmp_path):
    (tmp_path / "ca.pem").write_text("")
    default, buckets = accesses(
        settings(
            f"""
            [s3]
            endpoint = "https://minio:9000/"
            region = "here"
            ca_bundle = "ca.pem"
            {KEYS}
            [s3.buckets."open.data"]
            endpoint = "https://s3.eu-west-1.amazonaws.com"
            anonymous = true
            path_style = false
            [s3.buckets.other]
            access_key_id = "another"
            secret_access_key = "secret of it"
            session_token = "token"
            """
        )
    )
    ca = str(tmp_path / "ca.pem")
    assert default == S3Access("https://minio:9000/", "here", "id", "the-secret", ca_bundle=ca)
    assert default.url_of("b") == "https://minio:9000/b"
    # Another endpoint takes over nothing of the first, its keys least of all.
    assert buckets["open.data"] == S3Access(
        "https://s3.eu-west-1.amazonaws.com", "us-east-1", path_style=False
    )
    assert buckets["open.data"].url_of("open.data") == "https://open.data.s3.eu-west-1.amazonaws.com"
    assert buckets["other"] == S3Access(
        "https://minio:9000/", "here", "another", "secret of it", "token", ca_bundle=ca
    )


def test_a_bucket_elsewhere_beside_the_embedded_store(settings):
    default, buckets = accesses(settings('[s3.buckets.b]\nanonymous = true\nregion = "eu-west-1"\n'))
    assert default is None
    assert buckets["b"].url == "https://s3.eu-west-1.amazonaws.com"


def test_variables_win_and_keys_are_taken_as_a_whole(settings):
    text = f'[s3]\nendpoint = "http://minio:9000"\nregion = "here"\n{KEYS}session_token = "of the file"\n'
    default, _ = accesses(
        settings(
            text,
            PENSTOCK_S3_REGION="there",
            PENSTOCK_S3_ACCESS_KEY_ID="k",
            PENSTOCK_S3_SECRET_ACCESS_KEY="s",
        )
    )
    assert default == S3Access("http://minio:9000", "there", "k", "s")
    anonymous, _ = accesses(settings(text, PENSTOCK_S3_ANONYMOUS="1", PENSTOCK_S3_PATH_STYLE="0"))
    assert anonymous == S3Access("http://minio:9000", "here", path_style=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[s3\n", "line 1"),
        ("\n[s4]\n", "line 2: the file has no member 's4'"),
        ('[s3]\nregion = "x"\nend_point = "x"\n', r"line 3: \[s3\] has no member 'end_point'. It has: endpoint, region"),
        ('[s3.buckets."a.b"]\nregion = 5\n', "line 2: region in .* must be a text in quotes"),
        ('[s3]\nanonymous = "yes"\n', "line 2: anonymous in .* must be true or false"),
        ('s3 = "x"\n', "line 1: s3 in the file must be a table"),
        ('[s3]\nbuckets.a.secret = "x"\n', "line 2: .* has no member 'secret'"),
        ('[s3]\naccess_key_id = "x"\n', "needs both access_key_id and secret_access_key"),
        (f"[s3]\nanonymous = true\n{KEYS}", "says both access_key_id and anonymous"),
        ('[s3]\nendpoint = "http://minio:9000"\n', "does not say who uses the store"),
        ('[s3]\nendpoint = "minio:9000"\nanonymous = true\n', r"'minio:9000' is not http\(s\)://host"),
        ('[s3]\nendpoint = "http://h/path"\nanonymous = true\n', "is not http"),
        ('[s3]\nendpoint = "http://h"\nca_bundle = "x"\nanonymous = true\n', "ca_bundle is for https"),
        (f'[s3]\n{KEYS}[s3.buckets.b]\nendpoint = "http://h"\n', r'\[s3.buckets."b"\].* who uses the store'),
        ("[s3.buckets.b]\n", r'\[s3.buckets."b"\].* who uses the store'),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_named_with_its_place(settings, tmp_path, text, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        settings(text)
    assert str(tmp_path / "config.toml") in str(caught.value)
    assert "the-secret" not in str(caught.value)


def test_a_file_with_keys_is_closed_to_others(settings):
    with pytest.raises(ConfigurationError, match="chmod 600"):
        settings(f"[s3.buckets.b]\n{KEYS}", mode=0o644)
    assert settings("[s3]\nanonymous = true\n", mode=0o644).s3.anonymous


def test_no_secret_is_printed(settings):
    read = settings(f"[s3]\n{KEYS}[s3.buckets.b]\n{KEYS}")
    assert "the-secret" not in repr(read)
    assert "the-secret" not in repr(accesses(read))


def test_certificates_that_are_not_there_are_named(settings, tmp_path):
    read = settings('[s3]\nendpoint = "https://h"\nca_bundle = "no.pem"\nanonymous = true\n')
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/no.pem .* does not exist"):
        accesses(read)


def test_a_profile_of_aws(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the environment")
    (tmp_path / "aws").write_text("[profile work]\nregion = eu-north-1\n[profile empty]\n")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = w\naws_secret_access_key = x\n")
    assert accesses(settings('[s3]\nprofile = "work"\n'))[0] == S3Access(None, "eu-north-1", "w", "x")
    for name, words in (("empty", "has no keys"), ("missing", "can't be used")):
        with pytest.raises(ConfigurationError, match=f"profile '{name}' {words}"):
            accesses(settings(f'[s3]\nprofile = "{name}"\n'))


def test_a_run_tells_its_runner_of_every_store():
    inner = S3Access("http://h", "r", "a", "b", "c", path_style=False, ca_bundle="/x")
    from dataclasses import asdict, replace

    whole = replace(inner, buckets=(("b", inner),))
    assert S3Access.from_dict({**asdict(whole), "later": 1}) == whole
    assert whole.at("b") == inner
    assert whole.at("c") is whole
