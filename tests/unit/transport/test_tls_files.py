"""Files of TLS that will not do: which one it is, and what is wrong with it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from roadrunner_trio.transport.tls import server_context


def self_signed(key: rsa.RSAPrivateKey) -> bytes:
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def plain(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def damaged(pem: bytes) -> bytes:
    """A block whose letters make no sense, between its lines as they were."""
    lines = pem.split(b"\n")
    lines[1] = b"A" * len(lines[1])
    return b"\n".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()
    loaded, secret = load_pem_private_key(key, None), BestAvailableEncryption(b"open sesame")
    small = rsa.generate_private_key(65537, 1024)
    contents = {
        "cert": cert,
        "key": key,
        "both": key + cert,
        "other-key": authority.issue_cert("elsewhere").private_key_pem.bytes(),
        "rsa-key": plain(rsa.generate_private_key(65537, 2048)),
        "secret": loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret),
        "old-secret": loaded.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, secret),
        "openssh": loaded.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "der": ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()),
        "garbage": b"hello",
        "empty": b"",
        "damaged-cert": damaged(cert),
        "damaged-key": damaged(key),
        "cut-key": key[:100],
        "small": plain(small) + self_signed(small),
        "ca-first": authority.cert_pem.bytes() + cert,
        "request": b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n",
        "ca": authority.cert_pem.bytes(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def told(folder: Path, cert: str, key: str | None = None, **more: str) -> str:
    """What is said of two files, by their names in the folder."""
    files = {name: folder / value for name, value in more.items() if name == "client_ca"}
    with pytest.raises((OSError, ValueError)) as caught:
        server_context(folder / cert, folder / key if key else None, **{**more, **files})
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("nothing key", "[Errno 2] No such file or directory: 'nothing'"),
        ("cert nothing", "[Errno 2] No such file or directory: 'nothing'"),
        ("cert", "there is no private key in cert, nor is it said which file has it"),
        ("key cert", "there is no certificate in key but a private key: it and the key are swapped"),
        ("key key", "there is no certificate in key but a private key"),
        ("cert cert", "there is no private key in cert but a certificate"),
        ("garbage key", "there is no certificate in garbage but something that is no PEM"),
        ("empty key", "there is no certificate in empty but nothing"),
        ("der key", "there is no certificate in der but something in binary, perhaps DER or PKCS #12"),
        ("request key", "there is no certificate in request but a certificate request"),
        ("cert garbage", "there is no private key in garbage but something that is no PEM"),
        ("cert empty", "there is no private key in empty but nothing"),
        ("cert secret", "the private key in secret is encrypted and no password was given"),
        ("cert old-secret", "the private key in old-secret is encrypted and no password was given"),
        ("cert openssh", "the private key in openssh is one of OpenSSH, not PEM"),
        ("damaged-cert key", "a certificate in damaged-cert is damaged"),
        ("cert damaged-key", "the private key in damaged-key is damaged"),
        ("cert cut-key", "the private key in cut-key is damaged"),
        ("cert other-key", "the private key in other-key does not belong to the certificate in cert"),
        ("cert rsa-key", "the private key in rsa-key does not belong to the certificate in cert"),
        (
            "ca-first key",
            "the private key in key does not belong to the certificate in ca-first, "
            "whose own has to be the first of them",
        ),
        ("small", "the certificate in small has a key that is too short"),
    ],
)
def test_which_file_it_is_and_what_is_wrong_with_it(folder: Path, files: str, message: str) -> None:
    assert told(folder, *files.split()) == message


@pytest.mark.parametrize("key", ["secret", "old-secret"])
def test_a_wrong_password_says_of_which_key(folder: Path, key: str) -> None:
    assert told(folder, "cert", key, password="wrong") == f"the password does not open the private key in {key}"


@pytest.mark.parametrize(
    ("authority", "message"),
    [
        ("nothing", "[Errno 2] No such file or directory: 'nothing'"),
        ("key", "there is no certificate in key but a private key"),
        ("garbage", "there is no certificate in garbage but something that is no PEM"),
        ("damaged-cert", "a certificate in damaged-cert is damaged"),
    ],
)
def test_who_vouches_for_clients_likewise(folder: Path, authority: str, message: str) -> None:
    assert told(folder, "both", client_ca=authority) == message


def test_a_folder_is_named(folder: Path) -> None:
    assert told(folder, "..").startswith("[Errno 21] Is a directory: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0)
    assert told(tmp_path, "secret").startswith("[Errno 13] Permission denied: 'secret'")


def test_no_message_has_anything_of_a_key(folder: Path) -> None:
    for key in ("secret", "damaged-key", "openssh", "other-key"):
        message = told(folder, "cert", key, password="open sesame!")
        assert not any(line and line in message for line in (folder / key).read_text().splitlines())
        assert "sesame" not in message


def test_what_openssl_has_a_reason_for_is_told_in_its_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        error = ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: NEW_RULE] new rule")
        error.reason = "NEW_RULE"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", refuse)
    assert told(folder, "cert", "key") == "cert and key are not accepted: [SSL: NEW_RULE] new rule"
    monkeypatch.undo()
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda self, cafile=None, cadata=None: cafile and refuse()
    )
    assert told(folder, "both", client_ca="ca") == "ca is not accepted: [SSL: NEW_RULE] new rule"


def fed(path: Path, content: bytes) -> None:
    """A named pipe through which the content comes once."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()


def test_a_key_may_come_through_a_pipe(folder: Path, tmp_path: Path) -> None:
    fed(tmp_path / "pipe", (folder / "key").read_bytes())
    server_context(folder / "cert", tmp_path / "pipe")
    fed(tmp_path / "wrong", b"hello")
    assert "wrong are not accepted" in told(folder, "cert", str(tmp_path / "wrong"))


def test_on_the_command_line_it_is_one_line(folder: Path) -> None:
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "--tls-cert", "key", "--tls-key", "cert"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "there is no certificate in key but a private key: it and the key are swapped" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
