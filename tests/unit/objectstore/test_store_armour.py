"""The generated configuration: complete, private, and with one certificate for good."""

import tomllib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from penstock.objectstore.armour import write_configuration


def security(folder):
    return tomllib.loads((folder / "security.toml").read_text())


def test_every_file_that_weed_asks_for_is_there_and_private(tmp_path):
    write_configuration(tmp_path)
    names = {"admin", "credential", "filer", "master", "notification", "security", "volume"}
    assert {file.name for file in tmp_path.iterdir()} == {
        *(f"{name}.toml" for name in names),
        "certificate.pem",
        "key.pem",
    }
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_each_part_has_mutual_tls(tmp_path):
    write_configuration(tmp_path)
    told = security(tmp_path)
    pair = {"cert": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    authority = {"ca": str(tmp_path / "certificate.pem")}
    for part in ("master", "volume", "filer", "s3", "admin", "worker", "client"):
        assert told["grpc"][part] == pair
    assert told["grpc"]["ca"] == authority["ca"]
    for part in ("master", "volume", "filer", "admin"):
        assert told["https"][part] == pair | authority
    assert told["https"]["client"] == pair | authority | {"enabled": True}


def test_tokens_are_all_different_and_new_at_each_start(tmp_path):
    seen = set()
    for _ in range(2):
        write_configuration(tmp_path)
        tokens = security(tmp_path)["jwt"]
        for kind in ("signing", "filer_signing"):
            seen |= {tokens[kind]["key"], tokens[kind]["read"]["key"]}
    assert len(seen) == 8
    assert min(len(token) for token in seen) >= 32


def test_the_certificate_is_kept_unless_half_of_it_is_lost(tmp_path):
    pair = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_configuration(tmp_path)
    first = [file.read_bytes() for file in pair]
    write_configuration(tmp_path)
    assert [file.read_bytes() for file in pair] == first
    pair[1].unlink()
    write_configuration(tmp_path)
    again = [file.read_bytes() for file in pair]
    assert again[0] != first[0]
    assert again[1] != first[1]


def test_the_certificate_is_its_own_authority_for_long(tmp_path):
    write_configuration(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_before_utc < datetime(2001, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc > datetime(2900, 1, 1, tzinfo=UTC)


def test_odd_characters_in_the_folder_survive(tmp_path):
    folder = tmp_path / 'a "quoted" \\ ünusual folder'
    folder.mkdir()
    write_configuration(folder)
    assert security(folder)["grpc"]["ca"] == str(folder / "certificate.pem")
