"""Files that a server could not speak TLS with are refused by name; openssl makes those of these tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.server.tls import check_tls

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl to make a certificate with"
)


def openssl(*line: str) -> None:
    subprocess.run(["openssl", *line], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two certificates and their keys, one of them locked too, and a text."""
    folder = tmp_path_factory.mktemp("tls")
    for name in "ab":
        kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
        openssl("req", *kind, "-subj", f"/CN={name}", *files)
    locked = ("-aes256", "-passout", "pass:word", "-out", str(folder / "locked.key"))
    openssl("pkey", "-in", str(folder / "a.key"), *locked)
    (folder / "text").write_text("no PEM\n")
    return folder


def test_a_certificate_with_its_key_is_taken_and_so_is_a_server_without_tls(made: Path) -> None:
    check_tls(made / "a.pem", made / "a.key")
    check_tls(None, None)


@pytest.mark.parametrize(
    ("certificate", "key", "kind", "says"),
    [
        ("a.pem", "b.key", DataError, "--tls-key {}/b.key: not the key of the certificate in {}/a.pem"),
        ("text", "a.key", DataError, "--tls-cert {}/text: no certificate"),
        ("a.key", "a.key", DataError, "--tls-cert {}/a.key: no certificate"),
        ("a.pem", "text", DataError, "--tls-key {}/text: no private key"),
        ("a.pem", "a.pem", DataError, "--tls-key {}/a.pem: no private key"),
        ("a.pem", "locked.key", DataError, "--tls-key {}/locked.key: locked with a passphrase"),
        ("none", "a.key", MissingError, "--tls-cert {}/none: no such file"),
        ("a.pem", "none", MissingError, "--tls-key {}/none: no such file"),
    ],
)
def test_what_cannot_be_is_said_with_its_flag_and_its_file(
    made: Path, certificate: str, key: str, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind) as caught:
        check_tls(made / certificate, made / key)
    assert str(caught.value).startswith(says.replace("{}", str(made)))
