"""TLS 1.3 and nothing older; certificates for development, made on a first run and called so.

A development certificate authority lives in one file, signs one server certificate for loopback names, and its private
key is thrown away: nobody can make another certificate under it.  A real deployment names its own files in the
configuration.
"""

from __future__ import annotations

import datetime
import errno
import ipaddress
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marginseal.errors import InputError
from marginseal.files import write_atomic

DEVELOPMENT = "MarginSeal development"
LIFETIME = datetime.timedelta(days=90)


def development_certificates(directory: Path, now: datetime.datetime) -> Path:
    """ca.pem, server.pem, server.key in `directory`, for localhost, 127.0.0.1 and ::1.  Returns the path of ca.pem."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(f"{DEVELOPMENT} CA")
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    certificate = (
        _builder(_name(f"{DEVELOPMENT} server"), ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(directory / "server.key", private, private=True)
    write_atomic(directory / "server.pem", certificate.public_bytes(Encoding.PEM))
    write_atomic(directory / "ca.pem", ca.public_bytes(Encoding.PEM))
    return directory / "ca.pem"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


class Socket(ssl.SSLSocket):
    """A TLS socket that closes itself when its peer is gone before the handshake begins.

    Wrapping asks for the peer's name first.  Where that fails, Python before 3.13 raises and leaves the descriptor open
    in an object that the error's traceback alone refers to: until the collector comes by, a client that called a dying
    server, and a server whose callers hang up at once, hold one more."""

    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "the peer is gone") from None


def server_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """TLS 1.3 only; no certificate of a client is asked for, since requests are signed (signatures.py).

    InputError tls.certificate when the files are missing or do not fit each other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.sslsocket_class = Socket
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError:  # ssl.SSLError is one
        raise InputError("tls.certificate", "the certificate or its key cannot be used") from None
    return context
