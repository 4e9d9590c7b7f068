"""Any model, ready to paint: by the network at its core a `Painter`, which denoises, or a `Generator`, which does not;
or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from ..log import timed
from ..pictures.picture import Picture
from ..request.names import RECIPES
from ..request.request import Request, Resolved
from ..run import offload, together
from ..run.device import find_device, survive_forks
from ..run.engine.engines import ENGINES, find_engine
from ..run.looked import looking
from ..run.precision import find_precision
from ..run.quantise.layers import keeping
from ..run.quantise.quantisers import QUANTISERS
from ..store.cache import stamp
from ..store.find import AnyModel, find
from ..store.foreign.hand import NOTHING, ByHand
from ..store.model import Model
from ..store.shipped import DEFAULT
from ..weights import store
from ..weights.formats.few import QUANTISE_KEY
from ..weights.load import Keep, counted
from ..weights.load import load as network
from .generators.base import GENERATORS, Generator
from .loaded import LoadedModel, Sibling
from .networks import codec_of, denoiser_of
from .painter import Painter
from .recipes.tasks import TASKS
from .text import text_of
from .untouched import NONE, Untouched


def load(
    model: AnyModel = DEFAULT,
    device: str | None = None,
    precision: str | None = None,
    hand: ByHand = NOTHING,
    engine: str | None = None,
    quantise: str | None = None,
) -> LoadedModel:
    """A model by name, folder or description, on a device, in a precision, by an engine; the best of the machine where
    not given. "none" is no model. The latest two of those that denoise are kept, and of those that do not.

    Args:
        hand: what is said of the model, before all that its files say.
        quantise: in how few bits the weights of one that denoises are kept; as its files have them where not given.

    Raises:
        UnknownName: no such model, device, precision, engine or quantiser. InvalidFile: the folder's files are missing,
            damaged or foreign.
    """
    survive_forks()
    described = None if model == NONE else find(model, hand)
    where = find_device(device)
    dtype, engine = find_precision(where, precision), find_engine(where, engine)
    if described is None:
        return Untouched(device=where, dtype=dtype, engine=engine, sibling=_sibling(where))
    if described.core != "denoiser":
        return _generator(*described.stamped, where, dtype, engine, hand)
    kept = _kept(engine, _quantised(described, quantise or "none"), offload.given())
    return _painter(*described.stamped, where, dtype, engine, hand, *kept)


def _quantised(model: Model, asked: str) -> str:
    """In how few bits a model's weights are kept where a quantiser is asked for: that of its files, where they have
    one.

    Raises:
        UnknownName: there is no such quantiser. InvalidInput: the files have another. InvalidFile: they do not have
            what their description says.
    """
    own = model.quantise or "none"
    for name in (asked, own):
        if name not in QUANTISERS:
            raise UnknownName("quantiser", name, QUANTISERS)
    if own not in ("none", asked) and asked != "none":
        raise InvalidInput(
            f"{model.name} is kept in {own} on the disk, and {asked} was given: leave quantise out, or take the model "
            "that it was made of"
        )
    if own == "none":
        return asked
    for file in map(model.file_of, model.components):
        if (said := store.header(file).metadata.get(QUANTISE_KEY, own)) != own:
            raise InvalidFile(
                f"{file} keeps its weights in {said}, and its model.json says {own}: convert the model that it was "
                "made of again"
            )
    return own


def _kept(engine: str, quantise: str, choice: str) -> tuple[str, str]:
    """In how few bits weights are kept, and whether one network is in memory at a time, which asks for weights as they
    are in their files.

    Raises:
        InvalidInput: what was asked for does not go together.
    """
    other = f"quantise: {quantise}" if quantise != "none" else f"engine: {engine}" if ENGINES[engine].keeps else ""
    if other and choice == "sequential":
        raise InvalidInput(f"offload: sequential was given, and {other}; possible is one of the two")
    return quantise, "none" if other else choice


def load_for(request: Request, device: str | None = None) -> LoadedModel:
    """The model that a request names, as the request says it to be."""
    own = request.override
    hand = ByHand(prediction=own.prediction, vae=own.vae, schedule=own.noise_schedule)
    return load(request.model, device, hand=hand, **request.computed)


def _sibling(device: torch.device, source: str = "", hand: ByHand = NOTHING) -> Sibling:
    """What loads other models on a device, or the same, of which something is said by hand."""
    return lambda model, computed: load(model, str(device), hand=hand if model == source else NOTHING, **computed)


def networks_of(
    model: Model,
    device: torch.device,
    dtypes: Mapping[str, torch.dtype],
    engine: str = "torch",
    before: Callable[[str, nn.Module], Mapping[str, Keep]] = lambda role, net: {},
    made: Callable[[nn.Module, Callable[[], nn.Module]], object] = lambda net, again: None,
) -> dict[str, nn.Module]:
    """Every network of a model by its role, on the device, each in the type of its role, by the engine.

    Args:
        before: what is done to the network of a role before its numbers come: see `danqing.weights.load.load`.
        made: is told of each, before the engine is, and of a function that loads the same anew.
    """
    nets = dict[str, nn.Module]()
    with store.at_hand(map(model.file_of, model.components)):
        for role, part in model.components.items():
            stated: dict[str, Any] = {"family": part.family, "part": part.part or None, "config": part.config or None}
            stated |= {"before": partial(before, role)}
            file = model.file_of(role)
            read = partial(network, file, **stated, device=device, dtype=dtypes[role])
            with timed(f"{model.name}: its {role} loaded and verified"):
                nets[role] = read()
                model.verify(role)  # afterwards, for what cannot be loaded at all has a better reason than another sum
                made(nets[role], partial(_unchanged, read, file, stamp(file)))
                ENGINES[engine].attach(nets[role])
    return nets


def _ways(
    quantise: str, dtypes: Mapping[str, torch.dtype], device: torch.device, role: str, net: nn.Module
) -> dict[str, Keep]:
    """How a network that paints keeps its numbers, where not as torch does: in so few bits, or as the file has them."""
    QUANTISERS[quantise].attach(role, net)
    return looking(role, net, dtypes[role]) | keeping(net, dtypes[role], device)


def _unchanged(read: Callable[[], nn.Module], path: Path, before: object) -> nn.Module:
    """What is read anew of a file that is what it was.

    Raises:
        InvalidFile: it is not.
    """
    if stamp(path) != before:
        raise InvalidFile(f"{path} was changed while a picture was painted with it: paint it again")
    return read()


@lru_cache(maxsize=2)
def _painter(
    source: Path,
    stamp: int,
    device: torch.device,
    dtype: torch.dtype,
    engine: str,
    hand: ByHand,
    quantise: str,
    choice: str,
) -> Painter:
    """A model that denoises; its text is encoded once a picture, in fp32 in every precision, so that all read the
    same."""
    model = find(source, hand)
    if model.task not in TASKS:
        raise UnknownName("task of a denoiser", model.task, TASKS)
    dtypes = dtypes_of(model, dtype)
    size = sum(dtypes[role].itemsize * kinds.total() for role, kinds in parameters(model).items())
    offloaded = offload.found(choice, device, size) == "sequential"

    def laid(net: nn.Module) -> nn.Module:
        """On CUDA in the order that its convolutions are written for; on processors a UNet's are slower in it."""
        return net.to(memory_format=torch.channels_last) if device.type == "cuda" else net  # pyright: ignore

    def made(net: nn.Module, again: Callable[[], nn.Module]) -> None:
        laid(net)
        if offloaded:
            offload.Offloaded(net, lambda: laid(again()).state_dict())

    nets = networks_of(model, device, dtypes, engine, partial(_ways, quantise, dtypes, device), made)
    text, net = text_of(model, nets)
    return Painter(
        model=model,
        denoiser=denoiser_of(model, net),
        codec=codec_of(model, nets),
        text=text,
        nets={role: net for role, net in nets.items() if role != "codec"},
        device=device,
        dtype=dtype,
        engine=engine,
        recipes=RECIPES,
        quantise=quantise,
        sibling=_sibling(device, model.source, hand),
    )


def dtypes_of(model: Model, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each network of a model that denoises computes in, by its role: the text in fp32."""
    return {role: dtype if role in ("denoiser", "codec") else torch.float32 for role in model.components}


def parameters(model: Model) -> dict[str, Counter[str]]:
    """How many numbers of each type each network of a model holds, by its role, as its file's header says."""
    parts = model.components.items()
    return {role: counted(model.file_of(role), family=part.family, part=part.part or None) for role, part in parts}


@lru_cache(maxsize=2)
def _generator(
    source: Path, stamp: int, device: torch.device, dtype: torch.dtype, engine: str, hand: ByHand
) -> Generator:
    """A model that paints without denoising."""
    model = find(source)
    family = model.components[model.core].family
    if family not in GENERATORS:
        raise UnknownName("family of a generator", family, GENERATORS)
    nets = networks_of(model, device, dict.fromkeys(model.components, dtype), engine)
    return GENERATORS[family](
        model=model, nets=nets, device=device, dtype=dtype, engine=engine, sibling=_sibling(device)
    )


def groups(loaded: LoadedModel, requests: Sequence[Resolved]) -> Iterator[Sequence[Resolved]]:
    """Requests in their order, as many beside each other as are painted sooner together."""
    begin = 0
    while begin < len(requests):
        end = begin + max(1, loaded.abreast(requests[begin]))
        yield requests[begin:end]
        begin = end


def pictures(requests: Sequence[Request], load: Callable[[Request], LoadedModel]) -> Iterator[Picture]:
    """The pictures of requests in their order, painted together where that is sooner; what fails is raised in its
    place."""
    resolved = list[Resolved]()
    with_whom: LoadedModel | None = None
    for request in (*requests, None):
        try:
            loaded = None if request is None else load(request)
            one = None if loaded is None or request is None else loaded.resolve(request)
        except DanqingError:
            yield from _of_one(with_whom, resolved)
            raise
        if loaded is not with_whom:
            yield from _of_one(with_whom, resolved)
            resolved.clear()
        with_whom = loaded
        if one is not None:
            resolved.append(one)


def _of_one(loaded: LoadedModel | None, requests: Sequence[Resolved]) -> Iterator[Picture]:
    """The pictures of one model's requests."""
    if loaded is None:
        return
    for group in groups(loaded, requests):
        if len(group) == 1:
            yield loaded.paint(group[0])
            continue
        works = [partial(loaded.states, request) for request in group]
        # All at once, for whoever asks for the next picture may do so on another thread.
        for what in [*together.in_order(works, lambda which, state: None)]:
            if isinstance(what, Exception):
                raise what
            yield what
