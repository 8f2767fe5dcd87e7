"""Model servers behind proxies, certificates and addresses of other kinds."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from rollouts.client import failures
from rollouts.client.failures import BackendUnavailableError
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from tests.dialect_server import DialectServer
from tests.openai_server import OpenAIServer

NOWHERE = "http://model.invalid:8000/v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(url: str) -> str:
    async def sample() -> str:
        config = RolloutWorkerConfig(max_attempts=2, request_timeout_seconds=10)
        async with CompletionClient(ServerAddress([url], ""), config) as client:
            request = SampleRequest("Q Answer:", "", 1, to_end=False, seed=4)
            return (await client.sample(request, Spending()))[0].text

    return asyncio.run(sample())


class TlsServer(OpenAIServer):
    """Speaks TLS, with the certificate and the key of one file."""

    def __init__(self, certificate: Path) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, made only for this test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "own.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=own"
    extension = "subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [
            openssl,
            *command.split(),
            "-addext",
            extension,
            "-keyout",
            path,
            "-out",
            path.with_suffix(".crt"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("a", encoding="utf-8") as whole:
        whole.write(path.with_suffix(".crt").read_text(encoding="utf-8"))
    return path


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with DialectServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))

        assert ask(NOWHERE) == " Try 0.\n"

    assert {path.removeprefix(NOWHERE) for path in proxy.paths} == {"/models", "/completions"}


def test_an_address_that_needs_no_proxy_is_asked_itself(monkeypatch):
    with DialectServer() as proxy, OpenAIServer() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")

        assert ask(server.url) == " Try 0.\n"

    assert proxy.paths == []


def test_a_certificate_that_is_not_known_is_one_line_with_the_reason(certificate: Path):
    with (
        TlsServer(certificate) as server,
        pytest.raises(BackendUnavailableError, match=r"cannot reach.*self.signed") as caught,
    ):
        ask(server.url)

    assert len(str(caught.value).splitlines()) == 1


def test_a_certificate_of_the_environment_is_trusted(certificate: Path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))

    with TlsServer(certificate) as server:
        assert ask(server.url) == " Try 0.\n"


def test_an_address_of_ipv6_works():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    class Ipv6Server(OpenAIServer):
        host = "::1"

    with Ipv6Server() as server:
        assert server.url.startswith("http://[::1]:")
        assert ask(server.url) == " Try 0.\n"
