"""Laws of fetching: a file is whole and the right one or it is not there, and what was interrupted goes on from where
it was."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import huggingface_hub.utils
import pytest

from danqing.cli import app
from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.store import download, fetch, library, pull, settings

DATA = bytes(range(256)) * 4096  # 1 MiB
SUM = hashlib.sha256(DATA).hexdigest()


@dataclass
class Served:
    """One path of the server: what it answers, and how it fails.

    ``cut`` breaks the connection after so many bytes of an answer; ``statuses`` are answered first, one a request.
    """

    body: bytes = DATA
    etag: str = '"v1"'
    cut: int | None = None
    cuts: int = 1
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    moved: str = ""
    kind: str = "application/octet-stream"
    token: str = ""
    more: dict[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """Serves `Served` paths, with ranges as RFC 9110 has them."""

    paths: ClassVar[dict[str, Served]] = {}
    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.seen.append((path, dict(self.headers)))
        served = self.paths.get(path)
        if served is None:
            return self.answer(404, b"")
        if served.token and self.headers.get("Authorization") != f"Bearer {served.token}":
            return self.answer(401, b"", **{"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        if served.statuses:
            return self.answer(served.statuses.pop(0), b"")
        if served.moved:
            return self.answer(302, b"", Location=served.moved)
        start = 0
        if (
            served.ranges
            and (asked := self.headers.get("Range"))
            and self.headers.get("If-Range", served.etag) == served.etag
        ):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start > len(served.body) or (start and start == len(served.body)):
            return self.answer(416, b"", **{"Content-Range": f"bytes */{len(served.body)}"})
        body = served.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.body) - 1}/{len(served.body)}")
        for name, value in {
            "ETag": served.etag,
            "Content-Type": served.kind,
            "Content-Length": str(len(body)),
            **served.more,
        }.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if served.cut is not None and served.cuts:
            served.cuts -= 1
            body = body[: served.cut]
            self.close_connection = True
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """One that is not surprised when somebody hangs up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    """A server on the loopback, and its paths."""
    made: list[Any] = []

    def start() -> Any:
        handler = type("Own", (Handler,), {"paths": {}, "seen": []})
        http = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        made.append(http)
        handler.url = f"http://127.0.0.1:{http.server_port}"
        return handler

    first = start()
    first.another = staticmethod(start)
    yield first
    for http in made:
        http.shutdown()
        http.server_close()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, no proxy, no login, no waiting."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", settings.MIRROR, "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home = str(tmp_path_factory.mktemp("home"))
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("USERPROFILE", home)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", home + "/token")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv(settings.MODELS, str(tmp_path / "models"))
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0))
    huggingface_hub.utils.close_session()  # which keeps the proxies that it was made with


def fetched(name: str, *, force: bool = False, **options: Any) -> Path:
    wanted = pull.plan(name, **options)
    for _ in fetch.fetch(wanted, force=force):
        pass
    return wanted.path


def hold(folder: Path) -> list[str]:
    return (
        sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if folder.exists()
        else []
    )


# ------------------------------------------------------------------------------------------------------------ one file


def test_a_file_comes_whole_to_the_folder_of_models_and_its_hash_is_remembered(
    server: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    server.paths["/x.safetensors"] = Served()
    path = fetched(server.url + "/x.safetensors?token=secret", sha256=SUM.upper())
    assert (
        path == tmp_path / "models" / "x.safetensors"
        and path.read_bytes() == DATA
        and hold(path.parent) == ["x.safetensors"]
    )
    monkeypatch.setattr("danqing.weights.store.sha256", lambda path: pytest.fail("read again"))
    assert library.digest(path) == SUM


@pytest.mark.parametrize("etag", ['"v1"', ""], ids=["tagged", "known by its hash"])
def test_a_connection_that_breaks_goes_on_from_where_it_was(server: Any, tmp_path: Path, etag: str) -> None:
    server.paths["/x.safetensors"] = served = Served(cut=300_000, cuts=2, etag=etag)
    path = fetched(server.url + "/x.safetensors", into=tmp_path, sha256=SUM)
    assert path.read_bytes() == DATA and served.cuts == 0
    assert [headers.get("Range") for _, headers in server.seen] == [None, "bytes=300000-", "bytes=600000-"]


def test_what_was_interrupted_resumes_in_the_next_run(server: Any, tmp_path: Path) -> None:
    server.paths["/x.safetensors"] = served = Served(cut=300_000, cuts=99)
    states = fetch.fetch(pull.plan(server.url + "/x.safetensors", into=tmp_path))
    next(states), next(states)
    states.close()
    begun = (tmp_path / "x.safetensors.part").stat().st_size
    assert 0 < begun <= 300_000 and not (tmp_path / "x.safetensors").exists()
    served.cut = None
    assert fetched(server.url + "/x.safetensors", into=tmp_path).read_bytes() == DATA
    assert server.seen[-1][1]["Range"] == f"bytes={begun}-" and hold(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("change", ["replaced", "no ranges", "no tag", "another address"])
def test_a_part_that_cannot_be_trusted_is_fetched_from_the_beginning(server: Any, tmp_path: Path, change: str) -> None:
    server.paths["/x.safetensors"] = served = Served(cut=300_000, cuts=1, etag="" if change == "no tag" else '"v1"')
    server.paths["/other/x.safetensors"] = Served(body=DATA[::-1])
    states = fetch.fetch(pull.plan(server.url + "/x.safetensors", into=tmp_path))
    next(states), next(states)
    states.close()
    if change == "replaced":
        served.body, served.etag = DATA[::-1], '"v2"'
    served.ranges, served.cut = change != "no ranges", None
    address = "/other/x.safetensors" if change == "another address" else "/x.safetensors"
    assert fetched(server.url + address, into=tmp_path).read_bytes() == server.paths[address].body
    assert hold(tmp_path) == ["x.safetensors"]


def test_a_part_that_is_already_whole_is_only_put_in_its_place(server: Any, tmp_path: Path) -> None:
    server.paths["/x.safetensors"] = Served()
    (tmp_path / "x.safetensors.part").write_bytes(DATA)
    (tmp_path / "x.safetensors.part.json").write_text(json.dumps({"of": SUM, "mark": '"v1"'}))
    assert fetched(server.url + "/x.safetensors", into=tmp_path, sha256=SUM).read_bytes() == DATA and hold(
        tmp_path
    ) == ["x.safetensors"]


def test_another_file_than_was_meant_is_thrown_away(server: Any, tmp_path: Path) -> None:
    server.paths["/x.safetensors"] = Served(body=DATA[::-1])
    with pytest.raises(InvalidFile, match="SHA-256.*thrown away"):
        fetched(server.url + "/x.safetensors", into=tmp_path, sha256=SUM)
    assert hold(tmp_path) == []


def test_what_is_there_stays_unless_force_says_otherwise(server: Any, tmp_path: Path) -> None:
    server.paths["/x.safetensors"] = Served()
    (tmp_path / "x.safetensors").write_bytes(b"precious")
    for sha in ("", SUM):
        with pytest.raises(InvalidFile, match="--force"):
            fetched(server.url + "/x.safetensors", into=tmp_path, sha256=sha)
    assert (tmp_path / "x.safetensors").read_bytes() == b"precious"
    assert fetched(server.url + "/x.safetensors", into=tmp_path, force=True).read_bytes() == DATA
    asked = len(server.seen)
    for sha in (SUM, SUM.upper()):
        fetched(server.url + "/x.safetensors", into=tmp_path, sha256=sha)
    assert len(server.seen) == asked  # it was here already


def test_a_name_that_only_the_server_knows_is_cleaned(server: Any, tmp_path: Path) -> None:
    said = {"Content-Disposition": 'attachment; filename="../../.bad dream.safetensors"'}
    server.paths["/download/models/7"] = Served(more=said)
    assert fetched(server.url + "/download/models/7", into=tmp_path) == tmp_path / "bad dream.safetensors"


def test_a_server_that_fails_for_a_while_is_asked_again(server: Any, tmp_path: Path) -> None:
    server.paths["/x.safetensors"] = Served(statuses=[503, 429])
    assert fetched(server.url + "/x.safetensors", into=tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("served", "error", "told"),
    [
        (None, InvalidInput, "404"),
        (Served(statuses=[500] * 9), download.NotReached, "500"),
        (Served(statuses=[403]), download.NotAllowed, "HF_TOKEN"),
        (Served(kind="text/html; charset=utf-8"), download.NotAllowed, "web page"),
        (Served(cut=0, cuts=99), download.NotReached, "the network"),
    ],
    ids=["missing", "failing", "forbidden", "page", "silent"],
)
def test_what_a_server_refuses_is_told_with_what_to_do_and_without_secrets(
    server: Any, tmp_path: Path, served: Served | None, error: type[DanqingError], told: str
) -> None:
    if served:
        server.paths["/x.safetensors"] = served
    with pytest.raises(error, match=told) as raised:
        fetched(server.url.replace("//", "//me:pass@") + "/x.safetensors?token=secret", into=tmp_path)
    assert not {"secret", "pass"} & set(str(raised.value).replace("=", " ").replace(":", " ").split())
    assert "x.safetensors" not in hold(tmp_path)


def test_who_is_offline_is_told_at_once(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(download.NotReached, match="HF_ENDPOINT"):
        fetched("http://127.0.0.1:9/x.safetensors", into=tmp_path)
    monkeypatch.setenv(settings.MIRROR, "http://127.0.0.1:9")
    with pytest.raises(download.NotReached, match="HF_ENDPOINT"):
        pull.plan("owner/name")


def test_a_full_disk_is_told_beforehand_where_the_size_is_known_and_keeps_what_came_where_not(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.paths["/x.safetensors"] = Served()
    usage = download.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(InvalidFile, match="make room"):
            fetched(server.url + "/x.safetensors", into=tmp_path)
    assert hold(tmp_path) == []

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "fsync", full)
        with pytest.raises(InvalidFile, match="full.*same command"):
            fetched(server.url + "/x.safetensors", into=tmp_path)
    assert "x.safetensors" not in hold(tmp_path)
    fetched(server.url + "/x.safetensors", into=tmp_path)
    assert hold(tmp_path) == ["x.safetensors"]


# ------------------------------------------------------------------------------------------------------------- the hub


COMMIT = "c" * 40
ENDS = (".safetensors", ".fp16.safetensors", ".bin", ".non_ema.safetensors")
PARTS = {
    "unet": ["config.json", *(f"diffusion_pytorch_model{end}" for end in ENDS)],
    "vae": ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"],
    "text_encoder": ["config.json", "pytorch_model.bin", "pytorch_model.fp16.bin", "flax_model.msgpack", "model.onnx"],
    "text_encoder_2": ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                       "model.safetensors.index.json", "model.fp16.safetensors"],
    "tokenizer": ["vocab.json", "merges.txt", "tokenizer_config.json"],
    "scheduler": ["scheduler_config.json"],
    "safety_checker": ["config.json", "model.safetensors"],
}  # fmt: skip
LOOSE = ["README.md", "LICENSE.md", "model_index.json", "v1.ckpt", "v1.safetensors", ".gitattributes", "picture.png"]
WHOLE = [*LOOSE, *(f"{folder}/{name}" for folder, names in PARTS.items() for name in names)]


def hub(server: Any, repo: str, files: list[str], monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, bytes]:
    """Serve a repository as the hub does: its listing, and each file by a redirection."""
    monkeypatch.setenv(settings.MIRROR, server.url)
    bodies = {name: f"{repo} {name}".encode() * 100 for name in files}
    siblings = []
    for name, body in bodies.items():
        large = {"lfs": {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "pointerSize": 134}}
        siblings.append(
            {"rfilename": name, "size": len(body), **(large if not name.endswith((".json", ".txt", ".md")) else {})}
        )
        server.paths[f"/{repo}/resolve/{COMMIT}/{name}"] = Served(moved=f"/cdn/{repo}/{name}", **options)
        server.paths[f"/cdn/{repo}/{name}"] = Served(body=body, kind="text/plain")
    listing = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}).encode()
    for path in ("", "/revision/main", "/revision/v2"):
        server.paths[f"/api/models/{repo}{path}"] = Served(body=listing, kind="application/json", **options)
    return bodies


def test_of_a_models_folder_only_what_is_needed_comes_and_what_makes_it_a_model_comes_last(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = hub(server, "owner/name", WHOLE, monkeypatch)
    path = fetched("owner/name", into=tmp_path)
    assert path == tmp_path / "name" and hold(path) == sorted(
        [
            "README.md",
            "LICENSE.md",
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
            "text_encoder/config.json",
            "text_encoder/pytorch_model.bin",
            *(f"text_encoder_2/{name}" for name in PARTS["text_encoder_2"][:-1]),
            *(f"tokenizer/{name}" for name in PARTS["tokenizer"]),
            "scheduler/scheduler_config.json",
        ]
    )
    assert all((path / name).read_bytes() == bodies[name] for name in hold(path))
    assert server.seen[-1][0] == "/cdn/owner/name/model_index.json"
    asked = len(server.seen)
    fetched("owner/name", into=tmp_path)
    assert len(server.seen) == asked + 1  # the listing alone


def test_a_variant_comes_where_there_is_one_and_the_rest_is_told(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(server, "owner/name", WHOLE, monkeypatch)
    wanted = pull.plan("owner/name", into=tmp_path, variant="fp16")
    weights = {
        file.path.relative_to(tmp_path / "name").as_posix()
        for file in wanted.files
        if file.path.suffix in (".safetensors", ".bin")
    }
    assert weights == {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/pytorch_model.fp16.bin",
        "text_encoder_2/model.fp16.safetensors",
    }
    assert len(wanted.notes) == 1 and "vae" in wanted.notes[0] and "unet" not in wanted.notes[0]
    with pytest.raises(UnknownName, match="fp16"):
        pull.plan("owner/name", into=tmp_path, variant="fp61")


@pytest.mark.parametrize(
    "name",
    ["owner/name:sub/v1.safetensors", "owner/name@v2:sub/v1.safetensors", "https://huggingface.co/owner/name/blob/v2/sub/v1.safetensors",
     "https://huggingface.co/owner/name/resolve/main/sub/v1.safetensors?download=true", "owner/lora", "https://hf.co/owner/lora"],
)  # fmt: skip
def test_one_file_of_the_hub_is_named_in_any_of_the_usual_ways(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hub(server, "owner/name", ["a.safetensors", "sub/v1.safetensors"], monkeypatch)
    hub(server, "owner/lora", ["sub/v1.safetensors", "README.md", "old.bin"], monkeypatch)
    path = fetched(name, into=tmp_path)
    assert path == tmp_path / "v1.safetensors" and path.read_bytes().endswith(b"sub/v1.safetensors")


def test_a_file_of_the_hub_that_is_not_what_its_listing_says_is_refused(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = hub(server, "owner/name", ["v1.safetensors"], monkeypatch)["v1.safetensors"]
    server.paths["/cdn/owner/name/v1.safetensors"].body = body[::-1]
    with pytest.raises(InvalidFile, match="SHA-256"):
        fetched("owner/name", into=tmp_path)
    server.paths["/cdn/owner/name/v1.safetensors"].body = body + b"!"
    with pytest.raises(InvalidFile, match="bytes"):
        fetched("owner/name", into=tmp_path)
    assert hold(tmp_path) == []


def test_a_listing_cannot_write_outside_its_folder(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("unet/../../x.json", "/etc/x.json", r"unet\..\x.json", "c:/x.json"):
        hub(server, "owner/name", ["model_index.json", name], monkeypatch)
        with pytest.raises(InvalidFile, match="outside"):
            pull.plan("owner/name", into=tmp_path)


def test_a_gated_model_wants_a_login_and_the_token_goes_to_the_hub_alone(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = server.another()
    hub(server, "owner/name", ["v1.safetensors"], monkeypatch, token="hf_secret")
    elsewhere.paths["/cdn/owner/name/v1.safetensors"] = server.paths["/cdn/owner/name/v1.safetensors"]
    server.paths[f"/owner/name/resolve/{COMMIT}/v1.safetensors"].moved = (
        elsewhere.url + "/cdn/owner/name/v1.safetensors"
    )
    with pytest.raises(download.NotAllowed, match="HF_TOKEN"):
        pull.plan("owner/name", into=tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetched("owner/name", into=tmp_path)
    assert hold(tmp_path) == ["v1.safetensors"] and len(elsewhere.seen) == 1
    assert not any(name.lower() == "authorization" for name in elsewhere.seen[0][1])


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("sdlx", UnknownName, "sdxl"),
        ("owner/gone", InvalidInput, "404"),
        ("owner/name@v9", InvalidInput, "v9"),
        ("owner/name:v2.safetensors", UnknownName, "v1.safetensors"),
        ("owner/many", InvalidInput, "owner/many:FILE"),
        ("owner/none", InvalidInput, "no file of weights"),
        ("../../etc", UnknownName, "owner/name"),
        ("ftp://a/b", UnknownName, "address"),
        ("owner/na..me", InvalidInput, "no id"),
    ],
)
def test_a_name_that_is_not_one_is_told_what_there_is(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[DanqingError], told: str
) -> None:
    hub(server, "owner/name", ["v1.safetensors"], monkeypatch)
    hub(server, "owner/many", ["a.safetensors", "b.safetensors"], monkeypatch)
    hub(server, "owner/none", ["README.md"], monkeypatch)
    with pytest.raises(error, match=told):
        pull.plan(name, into=tmp_path)


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command_says_where_the_file_is_and_how_it_ended(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.paths["/x.safetensors"] = Served()
    app.main(["pull", server.url + "/x.safetensors", "--into", str(tmp_path / "new"), "--sha256", SUM])
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "new" / "x.safetensors") and "1 MB" in said.err

    def ended(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            app.main(["pull", *args])
        return int(stop.value.code or 0), capsys.readouterr().err

    assert ended(server.url + "/x.safetensors", "--sha256", "12")[0] == 2
    code, err = ended(server.url + "/gone.safetensors")
    assert code == 2 and err.startswith("danqing: ") and len(err.splitlines()) == 1
    monkeypatch.setattr(fetch, "fetch", lambda wanted, force: (_ for _ in ()).throw(KeyboardInterrupt))
    code, err = ended(server.url + "/x.safetensors")
    assert code == 130 and "goes on from here" in err


def test_help_names_every_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    app.main(["pull", "--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in pull.SHORT)


@pytest.mark.parametrize("page", ["tree/refs%2Fpr%2F1", "blob/refs%2Fpr%2F1/a%20b/x.safetensors", "tree/refs/pr/1"])
def test_an_address_of_a_revision_whose_name_has_slashes_is_told_apart(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(pull, "_hub", lambda *given: asked.extend(given[:3]))
    pull.plan(f"https://huggingface.co/o/n/{page}", into=tmp_path)
    file = "a b/x.safetensors" if "blob" in page else None
    assert asked == ["o/n", "refs/pr/1", file]
