"""Hostile and broken input of every kind that danqing reads, at random: does anything but danqing's own errors come
out, and does anything take long?

    python benchmarks/fuzz.py --count 20000             all kinds in turn
    python benchmarks/fuzz.py --count 500 --kind model --seed 7
    python benchmarks/fuzz.py --kind prompt --only 4711   one input again, with its traceback

Each input is drawn from (seed, kind, number) alone. Exit code 0: no error outside `danqing.errors`, and none above the
limit of seconds. A process that is killed or hangs is seen by the number that was printed last.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

#: What stands in the place of a value.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, 1e-320, float("nan"), float("inf")),
    *("", "\0", "\ud800", "\udcd5", "x" * 5000, "../../x", "/etc/passwd", "C:\\x", "NaN", "1e999", "9" * 5000),
    *([], {}, [[]], [None], [1] * 50, {"self": 1}, {"": {}}, {"a": {"b": {"c": {}}}}),
    *("一" * 300, "\x1b[2J", "%s%n", "{0}", "é", "e\u0301", "\u202e", "self", "kind"),
)
#: What prompts and texts of pictures are made of.
SIGNS = (
    "( ) [ ] { } | : :: ： （ ） < > \\ , ++ --ar 1.2 .5 -1 1e9 AND BREAK "
    "<lora:x:1> <lora: <lora:x:0.5:y=2> [a:b:0.5] (x:1.3) __color__ embedding:x <|endoftext|>"
)
WORDS = (
    *SIGNS.split(),
    *("a red fox", "一只红色的狐狸", "\n", "  ", '"', "\0", "\ud800", "\U0001f98a", "\u200d", "9" * 400),
    *("Negative prompt: ", "Steps: 20, Sampler: DPM++ 2M, Seed: 3", "Size: 9x9", 'A "b": "\\"', "CFG scale: 1e400"),
    *("Danqing prompt: ", "Hires upscale: 2", 'Style: "'),
)
#: What addresses and command lines are.
ADDRESSES = "http:// https:// [ ::1 ] : 99999 0 / a ä .. @ # ? %00 %zz sd1.5 owner/name"
COMMANDS = "paint edit inspect replay tone enlarge models convert sheet compare nonsense"
OPTIONS = "--seed --steps --finish -o --count --json --hires --model --exposure --from x.png none"


# ------------------------------------------------------------------------------------------------------------ mutations


def mutated(draw: random.Random, value: Any, depth: int = 0) -> Any:
    """JSON with something in it replaced, gone, doubled, renamed or nested."""
    if isinstance(value, dict | list) and value and draw.random() < 0.9:
        new: Any = value.copy()
        key = draw.choice(list(new)) if isinstance(new, dict) else draw.randrange(len(new))
        how = draw.random() if depth else 0.9 * draw.random() + 0.1
        if how < 0.15:
            new[key] = draw.choice(ODD)
        elif how < 0.2:
            del new[key]
        elif how < 0.25 and isinstance(new, dict):
            new[str(draw.choice(ODD))[:99]] = new.pop(key)
        elif how < 0.28:
            for _ in range(draw.choice((1, 60, 900))):
                new[key] = [new[key]]
        else:
            new[key] = mutated(draw, new[key], depth + 1)
        return new
    return draw.choice(ODD)


def text_of(draw: random.Random, value: Any) -> bytes:
    """JSON as a file's bytes; at times damaged."""
    text = nested(value)
    if draw.random() < 0.15:
        return garbled(draw, text.encode("utf-8", "surrogatepass"))
    return text.encode("utf-8", draw.choice(("surrogatepass", "replace")))


def nested(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=value is None)
    except RecursionError:
        return "[" * 100_000


def garbled(draw: random.Random, data: bytes) -> bytes:
    """Bytes with some of them changed, cut out or repeated."""
    new = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        at = draw.randrange(len(new) + 1)
        how = draw.randrange(5)
        if how == 0:
            del new[at:]
        elif how == 1:
            new[at : at + draw.randrange(9)] = draw.randbytes(draw.randrange(9))
        elif how == 2:
            new[at:at] = new[max(0, at - draw.randrange(99)) : at] * draw.choice((1, 2, 99))
        elif new:
            new[at % len(new)] = draw.choice((0, 255, draw.randrange(256)))
    return bytes(new)


def words(draw: random.Random) -> str:
    return draw.choice(("", " ", ", ")).join(draw.choices(WORDS, k=draw.choice((1, 3, 8, 40, 400))))


# ---------------------------------------------------------------------------------------------------------------- kinds

#: Draws an input and hands it to what reads it.
Trial = Callable[[random.Random, Path], object]


def prompt(draw: random.Random, place: Path) -> None:
    from danqing.prompt.grammar import parse, plan

    said = words(draw)
    for compose in (True, False):
        found = plan(parse(said, compose=compose), draw.choice((1, 20, 1000)))
        assert found.texts


def infotext(draw: random.Random, place: Path) -> None:
    from danqing.request import infotext
    from danqing.request.request import Request

    options, _ = infotext.request_of(infotext.read(words(draw)))
    Request(**options)


def request(draw: random.Random, place: Path) -> None:
    from danqing.request.request import FIELDS, Request

    said: dict[str, Any] = {"prompt": "a fox", "seed": 1, "sampling": {"steps": 3}, "finish": [{"name": "tone"}]}
    for name in draw.sample(sorted(FIELDS), draw.choice((1, 1, 2, 5))):
        said[name] = draw.choice(ODD)
    made = Request.parse(text_of(draw, mutated(draw, said) if draw.random() < 0.5 else said))
    assert Request.parse(made.json_text()) == made


def record(draw: random.Random, place: Path) -> None:
    """A PNG, JPEG or WebP whose record or A1111 text is not as we write it."""
    from PIL import Image

    from danqing.pictures import encode
    from danqing.pictures.carried import recorded
    from danqing.store.inspect import describe

    kept = {
        "danqing": 2,
        "request": {"prompt": "a fox", "seed": 3, "sampling": {"steps": 2}},
        "record": {},
        "warnings": [],
    }
    said = text_of(draw, mutated(draw, kept)).decode("utf-8", "replace")
    image, how = Image.new("RGB", (3, 2)), draw.randrange(4)
    if how < 2:
        data = encode.to_bytes(image, {"format": "PNG"})
        body = said.encode() if draw.random() < 0.7 else words(draw).encode("utf-8", "replace")
        key = b"danqing" if how else b"parameters"
        data = data[:33] + chunk(draw, key, body) + data[33:]
    else:
        told, exif = encode.xmp(said)[:64_000], encode.exif(words(draw))[:64_000]
        kind = "JPEG" if how == 2 else "WEBP"
        data = encode.to_bytes(image, {"format": kind, "quality": 9}, xmp=told, exif=exif)
    path = place / draw.choice(("x.png", "x.bin"))
    path.write_bytes(data)
    describe(path)
    recorded(path)


def chunk(draw: random.Random, key: bytes, body: bytes) -> bytes:
    """A text chunk of any kind, well made or not."""
    import zlib

    kind = draw.choice((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
    packed = zlib.compress(body * draw.choice((1, 1, 50)))
    made = {
        b"tEXt": key + b"\0" + body,
        b"zTXt": key + b"\0\0" + packed,
        b"iTXt": key + b"\0" + draw.choice((b"\0\0en\0\0" + body, b"\1\0\0\0" + packed, body)),
        b"iCCP": key + b"\0\0" + packed,
    }[kind]
    made = garbled(draw, made) if draw.random() < 0.3 else made
    return len(made).to_bytes(4, "big") + kind + made + zlib.crc32(kind + made).to_bytes(4, "big")


def picture(draw: random.Random, place: Path) -> None:
    from PIL import Image

    from danqing.pictures import read
    from danqing.pictures.carried import carried_by

    modes = {"PNG": ("RGB", "RGBA", "P", "I;16"), "JPEG": ("RGB", "L", "CMYK"), "WEBP": ("RGBA",), "GIF": ("P",)}
    modes |= {"BMP": ("RGB", "1"), "TIFF": ("RGB", "F", "I;16", "CMYK"), "AVIF": ("RGB",)}
    kind = draw.choice([name for name in modes if name in read.formats()])
    file = io.BytesIO()
    Image.new(draw.choice(modes[kind]), (draw.choice((1, 9)), 7)).save(file, kind)
    path = place / "x.png"
    path.write_bytes(garbled(draw, file.getvalue()))
    given: str | Path = path
    if draw.random() < 0.1:
        given = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()[: draw.randrange(999)]
    carried_by(path)
    read.frames(given, 3)


def tokenizer(draw: random.Random, place: Path) -> None:
    from danqing.prompt.tokenize import bilingual_tokenizer

    found = bilingual_tokenizer(_tokenizer(draw, place))
    found.decode(found.encode(words(draw)))


def _tokenizer(draw: random.Random, place: Path) -> Path:
    said = json.loads((place.parent / "tiny" / "tokenizer.json").read_text(encoding="utf-8"))
    for _ in range(draw.choice((1, 1, 2, 4))):
        said = mutated(draw, said)
    path = place / "tokenizer.json"
    path.write_bytes(text_of(draw, said))
    return path


def model(draw: random.Random, place: Path) -> None:
    """A tiny model whose description is not as we write it: listed, loaded, and painted with where it loads."""
    from danqing.painting.load import load
    from danqing.request.request import Request
    from danqing.store import library

    said = json.loads((place.parent / "tiny" / "model.json").read_text(encoding="utf-8"))
    for _ in range(draw.choice((1, 1, 2))):
        said = mutated(draw, said)
    for file in (place.parent / "tiny").iterdir():
        if not (place / file.name).exists():
            os.link(file, place / file.name)
    (place / "model.json").unlink()
    (place / "model.json").write_bytes(text_of(draw, said))
    if draw.random() < 0.1:
        (place / "tokenizer.json").unlink()
        _tokenizer(draw, place)
    library.about(place)
    load(place, "cpu", "fp32").paint(Request(model=str(place), prompt="a fox", seed=1, steps=1, width=16, height=16))


def weights(draw: random.Random, place: Path) -> None:
    """A safetensors file whose header is not as anybody writes it, read as a model, a LoRA and a learned word."""
    import torch

    from danqing.adapt import embedding, layouts
    from danqing.errors import DanqingError
    from danqing.store import library
    from danqing.store.inspect import describe
    from danqing.weights import store

    net = {"denoiser": torch.nn.Linear(2, 2)}
    names = {"lora_unet_mid.lora_down.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    header = {
        **names,
        "emb_params": {"dtype": "F16", "shape": [4], "data_offsets": [16, 24]},
        "__metadata__": {"a": "b"},
    }
    body = text_of(draw, mutated(draw, header) if draw.random() < 0.9 else header)
    path = place / draw.choice(("x.safetensors", "x.pt", "x.gguf"))
    path.write_bytes(len(body).to_bytes(8, "little") + body + bytes(24))
    library.about(path)
    for read in (
        lambda: describe(path),
        lambda: embedding.read(store.read(path), "x"),
        lambda: layouts.read(store.read(path), net, name="x", metadata=store.header(path).metadata),
    ):
        with suppress(DanqingError):
            read()


def address(draw: random.Random, place: Path) -> None:
    """What is given to `danqing pull`, without the network."""
    from danqing.store import pull

    parts = ADDRESSES.split()
    url = "".join(draw.choices((*parts, " ", "\n", "\0", "a" * 300, "\udcd5"), k=draw.randrange(1, 9)))
    hub = draw.choice(("http://127.0.0.1:9", f"http://{url}", url))
    os.environ["HF_ENDPOINT"] = hub.replace("\0", "")
    with offline():
        pull.plan(url, into=place)


@contextmanager
def offline() -> Iterator[None]:
    """Whatever would go to the network is refused there and then."""
    import socket

    def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError(111, "refused")

    before = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect, socket.getaddrinfo = refused, refused  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = before  # pyright: ignore[reportAttributeAccessIssue]


def command(draw: random.Random, place: Path) -> None:
    """The command line with odd options, as far as it goes without a model."""
    from danqing.cli import app

    names, options = COMMANDS.split(), OPTIONS.split()
    values = (str(value).replace("\0", "").replace("\ud800", "") for value in ODD)
    odd = (*values, *options, "enlarge:self=1", "tone:clip=nan")
    args = [draw.choice(names), *draw.choices(odd, k=draw.randrange(4)), "--model", "nothing-of-this-name"]
    os.chdir(place)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            app.main(args)
        except SystemExit as stop:
            assert stop.code in (0, 1, 2), stop.code


KINDS: dict[str, Trial] = {
    trial.__name__: trial
    for trial in (prompt, infotext, request, record, picture, tokenizer, model, weights, address, command)
}


# ----------------------------------------------------------------------------------------------------------- the trials


def tiny(folder: Path) -> None:
    """The model that is described wrongly: random weights, layers of a few channels."""
    from dataclasses import asdict

    import tokenizers
    import torch
    from tokenizers import models, pre_tokenizers, trainers

    from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
    from danqing.nets.clip import CLIPText, CLIPTextConfig
    from danqing.nets.unet import UNet, UNetConfig
    from danqing.store.model import write_model
    from danqing.weights import store

    folder.mkdir()
    torch.set_num_threads(1)
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    marks, alphabet = ["<pad>", "<bos>", "<eos>"], pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=300, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(["a red fox", "一只红色的狐狸"], learn)
    bpe.save(str(folder / "tokenizer.json"))
    vae = AutoencoderKLConfig(
        block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False, patch=2
    )
    unet = UNetConfig(
        block_out_channels=(8, 16), layers_per_block=1, transformer_layers=(0, 1), attention_heads=(2, 2),
        cross_attention_dim=16, norm_num_groups=4, use_linear_projection=True,
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=bpe.get_vocab_size(), hidden_size=16, intermediate_size=32, num_hidden_layers=2, hidden_act="gelu",
        num_attention_heads=2, max_position_embeddings=12, projection_dim=16, eos_token_id=2,
    )  # fmt: skip
    nets = {
        "denoiser": ("unet", UNet(unet), unet),
        "codec": ("autoencoder-kl", AutoencoderKL(vae), vae),
        "text": ("clip-text", CLIPText(text), text),
    }
    for role, (_, net, _) in nets.items():
        store.write(folder / f"{role}.safetensors", net.state_dict())
    write_model(
        folder,
        name="tiny",
        components={
            role: (family, f"{role}.safetensors", asdict(config)) for role, (family, _, config) in nets.items()
        },
        tokenizer={"kind": "bilingual", "file": "tokenizer.json", "window": 12},
        schedule={"kind": "flow", "shift": 1.0},
        prediction="flow",
        defaults={"width": 32, "height": 32, "steps": 3, "solver": "euler", "spacing": "trailing", "scale": 3.0},
    )


def tried(kind: str, seed: int, number: int, home: Path) -> tuple[str, float, str]:
    """One input: what came of it, "read", "refused" or an error's name, the seconds of
    the processor, and the error's traceback."""
    from danqing.errors import DanqingError

    draw, place = random.Random(f"{seed} {kind} {number}"), home / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    begun = time.process_time()
    try:
        KINDS[kind](draw, place)
        what, trace = "read", ""
    except DanqingError:
        what, trace = "refused", ""
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        what, trace = type(error).__name__, traceback.format_exc()
    return what, time.process_time() - begun, trace


@contextmanager
def prepared() -> Iterator[Path]:
    """A folder with the tiny model, and settings, caches and models of nobody."""
    before, here = dict(os.environ), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(home / "nobody"))
        os.environ["DANQING_MODELS"] = str(home)
        try:
            tiny(home / "tiny")
            yield home
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="inputs, shared among the kinds")
    parser.add_argument("--kind", choices=[*KINDS], action="append", help="of input; all where none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=1.0, help="seconds that an input may take")
    parser.add_argument("--only", type=int, help="the one input of this number")
    args = parser.parse_args()
    kinds = args.kind or [*KINDS]
    bad = Counter[str]()
    with prepared() as home:
        for kind in kinds:
            found, longest, shown = Counter[str](), (0.0, 0), set[str]()
            numbers = range(-(-args.count // len(kinds))) if args.only is None else [args.only]
            for number in numbers:
                if sys.stderr.isatty():
                    print(f"\r{kind} {number}  ", end="", file=sys.stderr, flush=True)
                what, seconds, trace = tried(kind, args.seed, number, home)
                found[what] += 1
                longest = max(longest, (seconds, number))
                where = trace.strip().rpartition("File ")[2][:300]
                if trace and where not in shown:
                    shown.add(where)
                    print(f"{kind} {number}: {trace if args.only is not None else where}")
                bad["errors"] += bool(trace)
                bad["slow"] += seconds > args.limit
            rest = ", ".join(f"{count} {what}" for what, count in found.items() if what not in ("read", "refused"))
            print(
                f"{kind:<10} {found.total():>6} inputs: {found['read']} read, {found['refused']} refused"
                f"{', ' + rest if rest else ''}; the longest took {longest[0]:.2f} s (number {longest[1]})"
            )
    sys.exit(1 if bad.total() else 0)


if __name__ == "__main__":
    main()
