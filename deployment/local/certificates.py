"""A certificate authority of the installation's own, and server certificates for its processes."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deployment.local.errors import LocalError
from deployment.local.state import write_private

_AUTHORITY_DAYS: Final = 3650
_SERVER_DAYS: Final = 397
_RENEW_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs the certificates of one installation.

    Attributes:
        file: its certificate (PEM), which clients are to trust.
    """

    file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(folder: Path) -> Authority:
    """Load the authority, or make it the first time.

    Raises:
        LocalError: one half of it is missing: a new one would be trusted by nobody.
    """
    file, key_file = folder / "ca.pem", folder / "ca.key"
    if file.exists() != key_file.exists():
        raise LocalError(f"{folder} holds only one of ca.pem and ca.key: bring the other back from a copy")
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Ponya local authority")
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key.public_key(), _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(key_file, _pem(key))
        write_private(file, certificate.public_bytes(serialization.Encoding.PEM))
    key_loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key_loaded, ec.EllipticCurvePrivateKey)
    return Authority(file, x509.load_pem_x509_certificate(file.read_bytes()), key_loaded)


def server_context(signer: Authority, folder: Path, names: list[str], addresses: list[str]) -> ssl.SSLContext:
    """TLS for a server, with a certificate made (or renewed) when it is needed.

    Args:
        signer: the installation's authority.
        folder: where ``server.pem`` and ``server.key`` are kept.
        names: DNS names of the server.
        addresses: IP addresses of the server; SDKs check them against the certificate.
    """
    file, key_file = folder / "server.pem", folder / "server.key"
    subject = sorted({*names, *addresses})
    if not _still_good(file, key_file, subject, signer):
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = (
            _builder(_name(subject[0]), signer.certificate.subject, key.public_key(), _SERVER_DAYS)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        write_private(key_file, _pem(key))
        encoding = serialization.Encoding.PEM
        write_private(file, certificate.public_bytes(encoding) + signer.certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(file, key_file)
    return context


def _still_good(file: Path, key_file: Path, subject: list[str], signer: Authority) -> bool:
    if not (file.exists() and key_file.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = sorted({*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))})
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    return held == subject and identifier == ours and left > timedelta(days=_RENEW_DAYS)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
