"""The certificate of a server and its key, looked at before anything else is done."""

import ssl
from pathlib import Path

from llmkit.errors import DataError, MissingError

_HINT = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -out CERT -keyout KEY"


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Refuse files that a server could not speak TLS with.

    Args:
        certificate: a chain, PEM; None: no TLS.
        key: PEM, without a passphrase.

    Raises:
        MissingError: there is no such file.
        DataError: it holds something else, or the key of another certificate.
    """
    if certificate is None or key is None:
        return
    for flag, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if not path.is_file():
            raise MissingError(f"{flag} {path}: no such file", hint=_HINT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError:
        raise DataError(f"--tls-cert {certificate}: no certificate in PEM", hint=_HINT) from None
    asked: list[bool] = []

    def passphrase() -> str:
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        if asked:
            plain = f"openssl pkey -in {key} -out PLAIN; a server asks nobody"
            raise DataError(f"--tls-key {key}: locked with a passphrase", hint=plain) from None
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"not the key of the certificate in {certificate}"
            raise DataError(f"--tls-key {key}: {what}", hint="name the two that belong together") from None
        raise DataError(f"--tls-key {key}: no private key in PEM", hint=_HINT) from None
