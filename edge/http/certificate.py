"""Self-signed certificates. The only place that needs the library `cryptography`."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.http.privatefile import write_private

READABLE = 0o644
MAX_COMMON_NAME = 64
CLOCKS_APART = timedelta(hours=1)
"""A client's clock may be behind ours by so much."""


class CertificateError(ValueError):
    """There can be no such certificate; the text says why."""


@dataclass(frozen=True)
class Pair:
    """Certificate and key in PEM format; `sha256` is the certificate's fingerprint, to compare by eye."""

    certificate: bytes
    key: bytes
    sha256: str
    expires: datetime


def self_signed(hosts: Sequence[str], now: datetime, lifetime: timedelta) -> Pair:
    """For a server that clients call by any of `hosts`. It signs no other certificate. ECDSA with P-256.

    Raises:
        CertificateError: a host is neither a name nor an IP address.
    """
    called = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:MAX_COMMON_NAME])])
    public = key.public_key()
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + lifetime)
        .add_extension(called, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.fingerprint(hashes.SHA256()).hex(":"),
        certificate.not_valid_after_utc,
    )


def write_pair(pair: Pair, certificate: Path, key: Path) -> None:
    """Replace both files; the key is for its owner alone. The folder is made where there is none.

    Raises:
        OSError: they cannot be written.
    """
    key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(key, pair.key)
    write_private(certificate, pair.certificate, READABLE)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    if not (host.isascii() and len(host) <= 253 and all(_is_label(label) for label in labels)):
        raise CertificateError(f"{host!r} is neither the name of a machine nor an IP address")
    return x509.DNSName(host)


def _is_label(label: str) -> bool:
    """Of a host name (RFC 1123, section 2.1)."""
    return 0 < len(label) <= 63 and label.replace("-", "").isalnum() and label[0] != "-" != label[-1]
