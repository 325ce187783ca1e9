"""A door with TLS before a store's port: passes bytes both ways. Its certificate is signed by an authority of its own."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(folder):
    """An authority, and what it has signed for 127.0.0.1: the files of the authority and of the chain with its key."""
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _sign("test authority", authority, "test authority", authority, authority=True)
    leaf = _sign("127.0.0.1", server, "test authority", authority, authority=False)
    pem = serialization.Encoding.PEM
    key = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "authority.pem").write_bytes(root.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + key)
    return folder / "authority.pem", folder / "server.pem"


def _sign(name, key, issuer, issuer_key, *, authority):
    def called(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@contextmanager
def tls_door(chain, port):
    """The address at which 127.0.0.1:`port` is reached by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=let_in, args=(plain,), daemon=True).start()

    def let_in(plain):
        try:
            outside = context.wrap_socket(plain, server_side=True)
            inside = socket.create_connection(("127.0.0.1", port))
        except OSError:  # who does not trust the certificate leaves
            plain.close()
            return
        back = threading.Thread(target=pass_on, args=(inside, outside), daemon=True)
        back.start()
        pass_on(outside, inside)
        back.join()
        outside.close()
        inside.close()

    def pass_on(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
