"""What a context of ours agrees to, and what it does not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from roadrunner_trio.transport.tls import server_context, tls_info


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificate and key of a server, apart, in one file, and encrypted; and who vouches for clients."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost")
    paths = {name: folder / f"{name}.pem" for name in ("cert", "key", "both", "secret", "ca")}
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    paths["key"].write_bytes(issued.private_key_pem.bytes())
    issued.private_key_and_cert_chain_pem.write_to_path(str(paths["both"]))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(b"open sesame")
    paths["secret"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    authority.cert_pem.write_to_path(str(paths["ca"]))
    return paths


def client(authority: trustme.CA, **attributes: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def shake(server: ssl.SSLContext, peer: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a handshake in memory.

    Raises:
        ssl.SSLError: they do not come to terms.
    """
    to_server, to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_peer, server_side=True)
    theirs = peer.wrap_bio(to_peer, to_server, server_hostname="localhost")
    waiting = [theirs, ours]
    for _ in range(10):
        for end in waiting.copy():
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return ours, theirs


def test_the_newest_version_is_spoken(authority, files):
    ours, theirs = shake(server_context(files["cert"], files["key"]), client(authority))
    info = tls_info(ours)
    assert (info.version, info.client_certificate) == ("TLSv1.3", None)
    assert theirs.cipher()[0] == info.cipher


def test_what_is_the_same_of_many_connections_is_one_object(authority, files):
    server = server_context(files["both"])
    first, again = (tls_info(shake(server, client(authority))[0]) for _ in range(2))
    assert again is first
    older = tls_info(shake(server, client(authority, maximum_version=ssl.TLSVersion.TLSv1_2))[0])
    assert (older.version, first.version) == ("TLSv1.2", "TLSv1.3")


def test_one_file_may_hold_both(authority, files):
    assert shake(server_context(files["both"]), client(authority))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(authority, files, version):
    old = client(authority, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=version)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION"):
        shake(server_context(files["both"]), old)


def test_tls_1_2_means_ecdhe_and_aead(files):
    suites = [each for each in server_context(files["both"]).get_ciphers() if each["protocol"] == "TLSv1.2"]
    assert suites
    assert all(each["aead"] and each["kea"] == "kx-ecdhe" and each["strength_bits"] >= 128 for each in suites)
    assert {each["auth"] for each in suites} == {"auth-rsa", "auth-ecdsa"}


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256"])
def test_weaker_suites_of_tls_1_2_are_refused(authority, files, cipher):
    weak = client(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shake(server_context(files["both"]), weak)


def test_alpn_chooses_what_is_spoken_and_a_stranger_is_not_turned_away(authority, files):
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["spdy/3"], None), ([], None)):
        peer = client(authority)
        if offered:
            peer.set_alpn_protocols(offered)
        assert shake(server_context(files["both"]), peer)[1].selected_alpn_protocol() == chosen


def test_keys_are_not_written_down(files, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert server_context(files["both"]).keylog_filename is None
    assert ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).keylog_filename is not None, "what the trap would do"


def test_renegotiation_and_compression_are_off(files):
    options = server_context(files["both"]).options
    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION
    assert options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_a_client_certificate_is_required_with_an_authority(authority, files):
    server = server_context(files["both"], client_ca=files["ca"])
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server, client(authority, maximum_version=ssl.TLSVersion.TLSv1_2))
    known = client(authority)
    authority.issue_cert("alice@example.org").configure_cert(known)
    certificate = tls_info(shake(server, known)[0]).client_certificate
    assert certificate is not None
    assert ("email", "alice@example.org") in certificate["subjectAltName"]


def test_an_optional_client_certificate(authority, files):
    server = server_context(files["both"], client_ca=files["ca"], client_cert="optional")
    assert tls_info(shake(server, client(authority))[0]).client_certificate is None
    stranger = client(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    trustme.CA().issue_cert("mallory@example.org").configure_cert(stranger)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(server, stranger)


def test_an_encrypted_key(authority, files):
    with pytest.raises(ValueError, match="no password"):
        server_context(files["cert"], files["secret"])
    with pytest.raises(ssl.SSLError):
        server_context(files["cert"], files["secret"], password="wrong")
    for password in ("open sesame", lambda: "open sesame"):
        assert shake(server_context(files["cert"], files["secret"], password=password), client(authority))


def test_wishes_that_contradict_each_other(files):
    for wishes in ({"client_cert": "required"}, {"client_ca": files["ca"], "client_cert": "none"}):
        with pytest.raises(ValueError, match="client_ca"):
            server_context(files["both"], **wishes)
    with pytest.raises(ValueError, match="'maybe'"):
        server_context(files["both"], client_ca=files["ca"], client_cert="maybe")


def test_files_that_are_not_there_or_not_what_they_should_be(files, tmp_path):
    with pytest.raises(FileNotFoundError):
        server_context(tmp_path / "nothing.pem")
    with pytest.raises(ssl.SSLError):
        server_context(files["key"], files["key"])
