"""The embedded store's generated configuration: what makes its inner ports useless to whoever has no key.

weed reads its configuration files from its working folder, then from `~/.seaweedfs`, `/usr/local/etc/seaweedfs`
and `/etc/seaweedfs`; the first one found wins. Every file it asks for is therefore written here, also the empty
ones, so that nothing of the user's or the machine's own configuration gets in.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from penstock.objectstore.files import write_private

#: Files that weed asks for and that have nothing to say here.
_EMPTY = ("admin", "credential", "master", "notification", "volume")

_GRPC_PARTS = (
    "admin",
    "client",
    "filer",
    "master",
    "mq",
    "msg_agent",
    "msg_broker",
    "s3",
    "volume",
    "worker",
)
_HTTPS_PARTS = ("admin", "filer", "master", "volume")
_TOKENS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")


def write_configuration(folder: Path) -> None:
    """Write all of weed's configuration into `folder`, its working folder; a certificate only if there is none.

    weed takes a certificate it can't read for none and starts without TLS: hence files appear whole or not at all.

    Raises:
        OSError: The folder can't be written to.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not (certificate.exists() and key.exists()):
        _make_certificate(certificate, key)
    for name in _EMPTY:
        write_private(folder / f"{name}.toml", "")
    # Only named, not changed: this is also what weed uses when it finds no file at all.
    write_private(
        folder / "filer.toml", _section("leveldb2", enabled=True, dir=str(folder / "data" / "filerldb2"))
    )
    write_private(folder / "security.toml", _security(certificate, key))


def _security(certificate: Path, key: Path) -> str:
    """Mutual TLS at every inner port, and tokens beneath it, new at each start.

    The certificate is its own authority: only who has its key can show it, and only the store's parts have that.
    """
    pair = {"cert": str(certificate), "key": str(key)}
    authority = {"ca": str(certificate)}
    return "".join(
        (
            *(_section(name, key=secrets.token_urlsafe(32)) for name in _TOKENS),
            _section("access", ui=False),
            _section("grpc", **authority),
            *(_section(f"grpc.{part}", **pair) for part in _GRPC_PARTS),
            _section("https.client", enabled=True, **pair, **authority),
            *(_section(f"https.{part}", **pair, **authority) for part in _HTTPS_PARTS),
        )
    )


def _section(name: str, **values: str | bool) -> str:
    # A JSON string or boolean is a TOML one too.
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _make_certificate(certificate: Path, key: Path) -> None:
    # At first start only, and slow to import.
    import datetime as dt  # noqa: PLC0415
    import ipaddress  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "penstock object store")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        # Bounds that no wrong clock and no long life of a home can leave.
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(
        key,
        secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
    )
    write_private(certificate, made.public_bytes(pem).decode())
