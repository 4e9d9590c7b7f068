"""Laws of addresses and of the way to the network: what leads nowhere is named, with what to do."""

import pytest

from danqing.errors import DanqingError, InvalidInput
from danqing.store import pull
from danqing.store.addresses import check_way, split_address

WRONG = [
    "http://[::1",
    "http://[::1]:x/y",
    "http://a:99999/",
    "http:///x",
    "https://",
    "http://a..b/",
    "http://\udcff/",
]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_address_is_refused_wherever_it_is_given(tmp_path, monkeypatch, url):
    with pytest.raises(InvalidInput, match="no address"):
        split_address(url)
    with pytest.raises(InvalidInput, match="no address"):
        pull.plan(url, into=tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(InvalidInput, match="no address"):
        pull.plan("owner/name", into=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:7897/", "socks5"),
        ("https_proxy", "ftp://x", "http"),
        ("SSL_CERT_FILE", "/nowhere/cacert.pem", "/nowhere/cacert.pem"),
        ("SSL_CERT_DIR", "/nowhere", "unset it"),
    ],
)
def test_a_variable_that_leads_nowhere_is_named_with_the_remedy(tmp_path, monkeypatch, name, value, remedy):
    monkeypatch.setenv(name, value)
    with pytest.raises(DanqingError, match=rf"(?s){name}.*{remedy}"):
        pull.plan("http://127.0.0.1:9/x.safetensors", into=tmp_path)


def test_socks_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1")
    monkeypatch.setattr("danqing.store.addresses.find_spec", lambda name: None)
    with pytest.raises(DanqingError, match="pip install socksio") as refused:
        check_way()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", ["http://127.0.0.1:3128", "https://proxy", "127.0.0.1:3128", ""])
def test_usual_proxies_pass(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    monkeypatch.setenv("NO_PROXY", "localhost")
    check_way()
