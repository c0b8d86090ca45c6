"""Certificate chains for tests of signatures, made by `cryptography` for each session: the repository holds none."""

import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Chain(NamedTuple):
    """Files of a chain in PEM: the private key of the signer, its certificate with that of the authority, the authority's."""

    key: Path
    certificate: Path
    authority: Path


def make_chain(folder: Path, name: str = "Test Studio", key: Any = None, days: tuple[int, int] = (-1, 9)) -> Chain:
    """Make an authority and a certificate by it that may sign content credentials (C2PA 2.2, section 14.5), with its key.

    `days`: from when to when both are valid, in days from now.
    """
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now, root_key = datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
    start, end = [now + datetime.timedelta(days=count) for count in days]
    key = key or ec.generate_private_key(ec.SECP256R1())

    def certify(subject: str, public: Any, issuer: str, *extensions: tuple[Any, bool]) -> Any:
        names = [
            x509.Name(
                [
                    x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text),
                    x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                ]
            )
            for text in (subject, issuer)
        ]
        made = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(start).not_valid_after(end)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical=critical)
        return made.sign(root_key, hashes.SHA256())

    def usage(**allowed: bool) -> Any:
        kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
        return x509.KeyUsage(**{kind: allowed.get(kind, False) for kind in kinds})

    root = certify(
        "Test Authority", root_key.public_key(), "Test Authority",
        (x509.BasicConstraints(ca=True, path_length=None), True), (usage(key_cert_sign=True), True),
    )  # fmt: skip
    leaf = certify(
        name, key.public_key(), "Test Authority",
        (x509.BasicConstraints(ca=False, path_length=None), True), (usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    files = Chain(folder / "key.pem", folder / "chain.pem", folder / "authority.pem")
    files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    files.certificate.write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    files.authority.write_bytes(root.public_bytes(pem))
    return files
