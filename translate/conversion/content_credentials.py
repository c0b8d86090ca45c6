"""Content credentials (C2PA): outputs that are signed with a key of the user's, and what the credentials of a file say.

Source: C2PA Technical Specification 2.2, sections 13 (signatures), 14.5 (certificates) and 18.15 (actions).
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import atomic, images
from translate.errors import UsageError
from translate.images import GENERATED, MODEL_SOURCE_TYPES, ImageError, Mark
from translate.text import one_line
from translate.trained.extras import import_extra
from translate.version import __version__

EXTRA = "c2pa"

MIME_TYPES = {
    "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif", "tiff": "image/tiff",
    "gif": "image/gif", "heic": "image/heic",
}  # fmt: skip
"""Formats of files that hold content credentials, by rows of images.WRITERS."""

_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # it would be ten times as large as all else
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
_VALID = ("Valid", "Trusted")
"""States of credentials that fit the file; of a certificate that the library trusts, too, or not."""
_PROBE = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\2\0\1H\xaf\xa4q"
    b"\0\0\0\0IEND\xaeB`\x82"
)
"""PNG file of one pixel, which is signed to try a key."""


@dataclass(frozen=True)
class ContentSigner:
    """Signer of outputs. Its key is in memory only; methods may be called from several threads.

    `load` makes one of files; it signs a file of one pixel, to find out whether the key, the certificate and the time-stamp
    authority are usable.
    """

    algorithm: str
    """Name of the signature algorithm, such as es256."""
    key: bytes
    """Private key, PKCS #8 in PEM."""
    certificates: bytes
    """Certificate of the key and those of its issuers, in PEM."""
    timestamp: str | None
    """Address of a time-stamp authority (RFC 3161); None: no time stamps, no network."""
    settings: dict[str, Any]
    """Settings for the manifest: SHA-256 of the certificate file, and the time-stamp authority."""

    @classmethod
    def load(cls, key: str | Path, certificate: str | Path, timestamp: str | None = None) -> "ContentSigner":
        """Return the signer of a private key and its chain of certificates, both in PEM. UsageError if it cannot sign."""
        import_extra(EXTRA, "--c2pa-key", "c2pa", "cryptography")
        algorithm, pem, public = _read_key(Path(key))
        chain = _read(Path(certificate), "--c2pa-cert")
        _check_certificate(Path(certificate), chain, public, Path(key))
        settings: dict[str, Any] = {"certificate": atomic.file_sha256(Path(certificate))}
        settings |= {} if timestamp is None else {"timestamp": timestamp}
        signer = cls(algorithm, pem, chain, timestamp, settings)
        try:
            signer._sign(_PROBE, "png", _manifest("probe", "png", "probe", GENERATED, None), None)
        except Exception as e:  # of the library, which has a dozen kinds
            flags = f"--c2pa-cert {certificate}" + ("" if timestamp is None else f" --c2pa-timestamp {timestamp}")
            raise UsageError(f"{flags}: cannot sign: {one_line(e)}") from None
        return signer

    def sign(self, data: bytes, fmt: str, title: str, mark: Mark, source: Path | None) -> tuple[bytes, list[str]]:
        """Return a file with content credentials, and notices; nothing may change the file any more.

        Args:
            data: The encoded file, with all its metadata.
            fmt: Row of images.WRITERS.
            title: Name of the file.
            mark: What the credentials say of the model.
            source: Input, which becomes an ingredient with the credentials that it has; None leaves it out.

        Raises:
            ImageError: If the format holds none, or the time-stamp authority does not answer.
        """
        if fmt not in MIME_TYPES:
            raise ImageError(f"{fmt} holds no content credentials (C2PA)")
        ingredient = None if source is None else _Ingredient.of_file(source)
        notices: list[str] = []
        text = f"translated by {mark.system} {mark.version}"
        try:
            try:
                manifest = _manifest(title, fmt, text, mark.source_type, ingredient)
                return self._sign(data, fmt, manifest, ingredient), notices
            except _IngredientError as e:
                notices.append(f"its content credentials (C2PA) are damaged and not kept: {one_line(e, 80)}")
                return self._sign(data, fmt, _manifest(title, fmt, text, mark.source_type, None), None), notices
        except Exception as e:  # of the library, which has a dozen kinds
            raise ImageError(f"content credentials cannot be signed: {one_line(e)}") from None

    def _sign(self, data: bytes, fmt: str, manifest: dict[str, Any], ingredient: "_Ingredient | None") -> bytes:
        import c2pa

        info = c2pa.C2paSignerInfo(self.algorithm, self.certificates, self.key, self.timestamp)
        signed = io.BytesIO()
        with (
            c2pa.Context(settings=c2pa.Settings.from_dict(_SETTINGS)) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder.from_json(json.dumps(manifest), context) as builder,
        ):
            if ingredient is not None:
                ingredient.add_to(builder)
            builder.sign(signer, MIME_TYPES[fmt], io.BytesIO(data), signed)
        state = (read_credentials(signed.getvalue(), fmt) or {}).get("state")
        if state not in ("valid", "trusted"):
            raise ValueError(f"the library reads them back as {state}")
        return signed.getvalue()


class _IngredientError(Exception):
    """Failure of the library to take the credentials of an input."""


@dataclass(frozen=True)
class _Ingredient:
    """An input that the credentials of its output name."""

    title: str
    mime: str
    data: bytes

    @classmethod
    def of_file(cls, path: Path) -> "_Ingredient | None":
        """Return the ingredient of a file; None for a format that the library does not read."""
        data = path.read_bytes()
        mime = MIME_TYPES.get(images.format_of_content(data[:64]))
        return None if mime is None else cls(path.name, mime, data)

    @property
    def description(self) -> dict[str, Any]:
        return {"title": self.title, "relationship": "parentOf", "label": "input"}

    def add_to(self, builder: Any) -> None:
        """Add the ingredient to a builder. _IngredientError if the library refuses it."""
        try:
            builder.add_ingredient(json.dumps(self.description), self.mime, io.BytesIO(self.data))
        except Exception as e:  # of the library, which has a dozen kinds
            raise _IngredientError(one_line(e)) from None


def _manifest(title: str, fmt: str, text: str, source_type: str, ingredient: _Ingredient | None) -> dict[str, Any]:
    """Return the definition of a manifest: who made the file, and by which actions of which source type."""
    agent = {"name": "image-translate", "version": __version__}
    made: dict[str, Any] = {"digitalSourceType": source_type, "softwareAgent": agent, "description": text}
    if ingredient is None:
        actions = [{"action": "c2pa.created", **made}]
    else:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["input"]}}
        actions = [opened, {"action": "c2pa.edited", **made}]
    return {
        "claim_generator_info": [agent],
        "title": title,
        "format": MIME_TYPES[fmt],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _read(path: Path, flag: str) -> bytes:
    """Return the content of a file that a flag names. UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as e:
        raise UsageError(f"{flag} {path}: cannot be read: {e.strerror}") from None


def _read_key(path: Path) -> tuple[str, bytes, bytes]:
    """Return the algorithm of a private key, the key as PKCS #8 in PEM, and its public key. UsageError if it is not usable."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    content = _read(path, "--c2pa-key")
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise UsageError(
            f"--c2pa-key {path}: is encrypted; give a decrypted copy: openssl pkcs8 -in {path} -out COPY"
        ) from None
    except Exception:  # of the library, which has a dozen kinds
        raise UsageError(f"--c2pa-key {path}: is no private key in PEM") from None
    algorithm = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}.get(key.curve.name)
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "ps256"
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    if algorithm is None:
        raise UsageError(f"--c2pa-key {path}: must be of EC (P-256, P-384, P-521), RSA or Ed25519, as C2PA allows")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return algorithm, key.private_bytes(pem, pkcs8, serialization.NoEncryption()), public


def _check_certificate(path: Path, chain: bytes, public: bytes, key: Path) -> None:
    """Raise UsageError if the first certificate of a chain is not that of the key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        first, *_ = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise UsageError(f"--c2pa-cert {path}: holds no certificate in PEM") from None
    found = first.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if found != public:
        raise UsageError(
            f"--c2pa-cert {path}: its first certificate is not that of {key}; put the certificate of the key first"
        )


def read_credentials(data: bytes, fmt: str) -> dict[str, Any] | None:
    """Return what the content credentials of a file say; None if it has none. Needs the package c2pa.

    {"state", "issuer", "name", "time", "generator", "source_types", "ingredients", "problems"}: `state` is "valid" (they fit
    the file, but who signed is not in the library's list of trust), "trusted", or "invalid"; `issuer` and `name` are those of
    the certificate; `source_types` those of the actions; `ingredients` the titles of the files it was made from; `problems`
    the codes of what is wrong (C2PA 2.2, section 15.2.2). ValueError, with a reason in one line, if they cannot be read.
    """
    import c2pa

    if fmt not in MIME_TYPES:
        return None
    try:
        with c2pa.Context(settings=c2pa.Settings.from_dict(_SETTINGS)) as context:
            reader = c2pa.Reader.try_create(MIME_TYPES[fmt], io.BytesIO(data), context=context)
            if reader is None:
                return None
            with reader:
                state, store = reader.get_validation_state(), json.loads(reader.json())
    except Exception as e:  # of the library, which has a dozen kinds
        raise ValueError(one_line(e)) from None
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{}]
    results = (store.get("validation_results") or {}).get("activeManifest") or {}
    return {
        "state": str(state).lower() if state in _VALID else "invalid",
        "issuer": signature.get("issuer"),
        "name": signature.get("common_name"),
        "time": signature.get("time"),
        "generator": " ".join(str(generators[0][key]) for key in ("name", "version") if key in generators[0]) or None,
        "source_types": sorted(_source_types(manifest)),
        "ingredients": [str(ingredient.get("title")) for ingredient in manifest.get("ingredients", ())],
        "problems": sorted({str(problem.get("code")) for problem in results.get("failure", ())}),
    }


def _source_types(manifest: dict[str, Any]) -> set[str]:
    """Return the digital source types of the actions in a manifest."""
    lists = [
        assertion["data"].get("actions", ())
        for assertion in manifest.get("assertions", ())
        if str(assertion.get("label")).startswith("c2pa.actions")
    ]
    return {action["digitalSourceType"] for actions in lists for action in actions if "digitalSourceType" in action}


def names_a_model(credentials: dict[str, Any]) -> bool:
    """Return True if credentials that fit their file say that a generative model made or changed it."""
    is_valid = credentials["state"] in ("valid", "trusted")
    return is_valid and not MODEL_SOURCE_TYPES.isdisjoint(credentials["source_types"])
