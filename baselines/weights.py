"""Finding a network's weights in what a checkpoint file holds, whatever is wrapped around them.

The rule: weights are loaded where one set of entries, below any nesting and any prefix of the names, has all names and
shapes of the network and no others. Where several have, an average (EMA) goes before the weights it averages, and sets
with other values than one another are refused. What is left aside is said.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_Weights = Mapping[str, Tensor]
_Nested = tuple[tuple[str, ...], dict[object, object]]  # where a dictionary is in the content, and the dictionary

DEPTH = 8  # containers around the weights, and parts of a prefix, that are looked through
MANY = 100  # a longer list is one of numbers, not of weights
SHOWN = 5  # mismatches named in an error

# Put inside names by torch.compile, FSDP and activation checkpointing of a single layer.
_INSIDE = re.compile(r"(?:^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Counters of profilers (thop), of AveragedModel, and of batch normalisation, which only torch's newer files hold.
_COUNTERS = {"total_ops", "total_params", "n_averaged", "num_batches_tracked"}
_AVERAGE = {"ema", "average", "averaged", "avg", "shadow", "swa"}
_BESIDE = {
    "criterion", "criteria", "criterions", "disc", "discriminator", "loss", "losses", "lpips", "metric", "metrics",
    "netd", "optimizer", "perceptual", "psnr", "scheduler", "ssim", "vgg",
}  # fmt: skip
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


class Layout(Protocol):
    """What is asked of a network: its weights, and which names of a file count as no part of it, or need not be there
    (see :class:`baselines.network.Network`)."""

    unused: tuple[str, ...]
    optional: tuple[str, ...]

    def state_dict(self) -> dict[str, Tensor]:
        """The network's weights by name."""
        ...


class Found(NamedTuple):
    """A network's weights: ``entries`` by its own names; ``wrappers`` around them, outermost first, such as
    "state_dict > net.*", or "plain"; ``remarks``, what else is to be said."""

    entries: dict[str, Tensor]
    wrappers: str
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((self.wrappers, *self.remarks))


class _Place(NamedTuple):
    """Where weights may be: the nesting, the mapping there, the names' prefix, and by the name behind the prefix the
    key (with ``inside``: names without the wrappers inside them)."""

    nesting: tuple[str, ...]
    mapping: dict[object, object]
    prefix: str
    keys: dict[str, str]
    inside: tuple[str, ...] = ()

    @property
    def wrappers(self) -> str:
        parts = [f"{part}.*" for part in self.prefix.split(".")[:-1]]
        return shown(" > ".join((*self.nesting, *parts, *(f"{name} in names" for name in self.inside)))) or "plain"

    def tensor(self, name: str) -> Tensor:
        """The value behind a name that is there and holds a tensor."""
        value = self.mapping[self.keys[name]]
        assert isinstance(value, Tensor)
        return value

    @property
    def average(self) -> bool:
        return any(_words(part) & _AVERAGE for part in (*self.nesting, *self.prefix.split(".")))


def find(network: Layout, content: Mapping[str, object]) -> Found:
    """The network's weights in a checkpoint's content, as values of the network's own data types.

    Args:
        network: whose weights are looked for.
        content: what ``torch.load`` gave.

    Raises:
        ValueError: if a name is missing, unexpected, or has another shape or kind of value, if several sets of weights
            fit, or if weights are NaN or infinite.
    """
    place, others = _locate(network, mappings(content))
    own = network.state_dict()
    loaded = [name for name in own if name in place.keys and not _other_size(network, own, name, place)]
    entries = {name: place.tensor(name).detach().to(own[name].dtype) for name in loaded}
    bad = [name for name in loaded if own[name].is_floating_point() and not entries[name].isfinite().all()]
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(loaded)} entries hold NaN or infinite values: {_listed(bad)}; these weights cannot be "
            "used, take a file from before the training failed"
        )
    remarks = [
        _average_remark(place, others),
        _unused_remark(network, place),
        _aside_remark(network, place, content, loaded),
    ]
    remarks += [_types_remark(place, own, loaded), _fresh_remark(set(own) - set(loaded))]
    return Found(entries, place.wrappers, tuple(filter(None, remarks)))


def fits(network: Layout, found: Sequence[_Nested]) -> bool:
    """Whether :func:``find`` would find weights in what :func:``mappings`` gave, going by names, shapes and kinds; the
    network may be on ``meta``."""
    try:
        _locate(network, found)
    except ValueError:
        return False
    return True


def shown(text: str) -> str:
    """A name from a file for a message: one line of at most 200 characters."""
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else f"{text[:120]}...{text[-60:]}"


def _locate(network: Layout, found: Sequence[_Nested]) -> tuple[_Place, list[_Place]]:
    """The place that fits, and the others that do.

    Raises:
        ValueError: where none does, or several with other values.
    """
    own = network.state_dict()
    places = list(_places(own, found))
    fitting = [place for place in places if not _mismatches(network, own, place)]
    if not fitting:
        _refuse(network, own, _nearest(own, places, found))
    first, *others = sorted(fitting, key=lambda place: not place.average)
    rivals = [other for other in others if other.average == first.average and not _equal(own, first, other)]
    if rivals:
        named = [place.wrappers for place in (first, *rivals)]
        raise ValueError(
            f"{len(named)} sets of weights fit {type(network).__name__} and differ ({_listed(named)}); "
            "save the one that is meant to a file of its own"
        )
    return first, others


def mappings(content: Mapping[str, object]) -> list[_Nested]:
    """All dictionaries inside the content with their nesting, outermost first, each once (one may hold itself)."""
    outermost: dict[object, object] = dict(content.items())
    found: list[_Nested] = []
    seen: set[int] = set()
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), outermost)])
    while waiting:
        nesting, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            found.append((nesting, value))
        if len(nesting) < DEPTH:
            waiting.extend(((*nesting, _text(key)), inner) for key, inner in _items(value) if _searched(inner))
    return found


def _searched(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list | tuple) and len(value) <= MANY)


def _items(value: object) -> Iterable[tuple[object, object]]:
    """The entries of what is :func:`_searched`."""
    return value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()


def _text(key: object) -> str:
    """A key for people; never that of a tuple, which may nest without end."""
    return key if isinstance(key, str) else f"[{key}]" if isinstance(key, int) else f"[{type(key).__name__}]"


def _places(own: _Weights, found: Sequence[_Nested]) -> Iterator[_Place]:
    """Every nesting and prefix below which there is at least one of the network's names."""
    for nesting, mapping in found:
        plain = {key: key for key in mapping if isinstance(key, str)}
        cleaned = {_INSIDE.sub("", key): key for key in plain}
        inside = tuple(dict.fromkeys(name for key in plain for name in _INSIDE.findall(key)))
        yield from _by_prefix(own, nesting, mapping, plain, ())
        if inside and len(cleaned) == len(plain):
            yield from _by_prefix(own, nesting, mapping, cleaned, inside)


def _by_prefix(
    own: _Weights,
    nesting: tuple[str, ...],
    mapping: dict[object, object],
    keys: dict[str, str],
    inside: tuple[str, ...],
) -> Iterator[_Place]:
    prefixes = Counter(
        name[:start]
        for name in keys
        for start in (0, *(dot.end() for dot, _ in zip(re.finditer(r"\.", name), range(DEPTH), strict=False)))
        if name[start:] in own
    )
    for prefix, _ in prefixes.most_common(DEPTH):
        below = {name[len(prefix) :]: key for name, key in keys.items() if name.startswith(prefix)}
        yield _Place(nesting, mapping, prefix, below, inside)


def _nearest(own: _Weights, places: list[_Place], found: Sequence[_Nested]) -> _Place:
    """The place to tell of where none fits: the one with the most names, else where the most tensors are."""
    if places:
        return max(places, key=lambda place: len(own.keys() & place.keys.keys()))

    def tensors(mapping: dict[object, object]) -> dict[str, str]:
        return {key: key for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)}

    nesting, mapping = max(found, key=lambda one: len(tensors(one[1])))
    return _Place(nesting, mapping, "", tensors(mapping))


def _mismatches(network: Layout, own: _Weights, place: _Place) -> list[str]:
    """Every name that is missing, unexpected, or has another shape or kind of value."""
    missing, shapes, kinds = [], [], []
    for name, value in own.items():
        if name not in place.keys:
            if name not in network.optional and name.rpartition(".")[2] not in _COUNTERS:
                missing.append(f"missing {name} {tuple(value.shape)}")
        elif kind := _kind(place.mapping[place.keys[name]]):
            kinds.append(f"{name} is {kind}")
        elif (shape := place.tensor(name).shape) != value.shape:
            if name not in network.optional:
                shapes.append(f"shape of {name} is {tuple(shape)}, not {tuple(value.shape)}")
        elif kind := _wrong_type(place.tensor(name), value):
            kinds.append(f"{name} is {kind}")
    unexpected = [
        f"unexpected {shown(name)}"
        for name, key in place.keys.items()
        if name not in own and not _harmless(network, name, place.mapping[key])
    ]
    # Taken in turn, so that the few that are shown tell of each kind.
    lists = [missing, unexpected, shapes, kinds]
    return [one[i] for i in range(max(map(len, lists))) for one in lists if i < len(one)]


def _refuse(network: Layout, own: _Weights, place: _Place) -> None:
    problems = _mismatches(network, own, place)
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    advice = ""
    if all(problem.startswith("unexpected") for problem in problems):
        advice = "; all its names are there: where those are no part of the network, remove them from the file"
    raise ValueError(
        f"these weights do not fit {type(network).__name__}: {len(problems)} mismatch{'es' * (len(problems) > 1)} "
        f"(wrapper: {place.wrappers}): {'; '.join(problems[:SHOWN])}{more}{advice}"
    )


def _harmless(network: Layout, name: str, value: object) -> bool:
    """Whether an entry that the network lacks is known to be no part of any network."""
    first, _, _ = name.partition(".")
    counted = name.rpartition(".")[2] in _COUNTERS
    return counted or name in network.unused or not isinstance(value, Tensor) or bool(_words(first) & _BESIDE)


def _words(name: str) -> set[str]:
    """The words of a name: ``netG_ema`` has netg, net, g and ema."""
    parts = re.split(r"[^A-Za-z]+", name)
    return {word.lower() for part in parts for word in (part, *re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part))}


def _kind(value: object) -> str | None:
    """What keeps a value from being read as a tensor with a shape and values, in words."""
    if not isinstance(value, Tensor):
        return f"no tensor but a {type(value).__name__}"
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return "a sparse tensor"
    if value.is_quantized:
        return "a quantized tensor"
    return "a tensor without values (device meta)" if value.is_meta else None


def _wrong_type(value: Tensor, own: Tensor) -> str | None:
    """A data type that cannot be converted without a loss of meaning, in words."""
    name = str(value.dtype).removeprefix("torch.")
    if own.is_floating_point():
        return None if value.dtype in _FLOATS else f"{name}, not floating point"
    whole = value.dtype in _INTEGERS or (value.dtype in _FLOATS and bool((value == value.round()).all()))
    return None if whole and bool((value.double().abs() < 2.0**62).all()) else f"{name}, not whole numbers"


def _equal(own: _Weights, first: _Place, other: _Place) -> bool:
    for name in own:
        if (name in first.keys) != (name in other.keys):
            return False
        if name in first.keys:
            ours, theirs = first.tensor(name), other.tensor(name)
            if ours is not theirs and (ours.dtype != theirs.dtype or not torch.equal(ours, theirs)):
                return False
    return True


def _other_size(network: Layout, own: _Weights, name: str, place: _Place) -> bool:
    return name in network.optional and place.tensor(name).shape != own[name].shape


def _listed(names: list[str], count: int = SHOWN) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(shown, names[:count])) + more


def _average_remark(place: _Place, others: list[_Place]) -> str:
    return "the average of the weights" if place.average and any(not other.average for other in others) else ""


def _unused_remark(network: Layout, place: _Place) -> str:
    count = sum(name in place.keys for name in network.unused)
    return f"{count} entries that no forward pass uses" if count else ""


def _aside_remark(network: Layout, place: _Place, content: Mapping[str, object], loaded: list[str]) -> str:
    """What lies beside the weights and is not loaded: in the same mapping anything, around it tensors only."""
    known = {place.keys[name] for name in (*loaded, *network.optional, *network.unused) if name in place.keys}
    groups = Counter(_group(place, key) for key in place.mapping if key not in known)
    around = content
    for step in place.nesting:
        if not isinstance(around, Mapping):
            break
        for key, value in around.items():
            inner = value.values() if isinstance(value, Mapping) else (value,)
            if key != step and any(isinstance(one, Tensor) for one in inner):
                groups[_text(key)] += 1
        around = around.get(step)
    names = [
        f"{name} ({count} entr{'ies' if count > 1 else 'y'})" if "*" in name else name for name, count in groups.items()
    ]
    return f"left aside: {_listed(names)}" if names else ""


def _group(place: _Place, key: object) -> str:
    """An entry with others of its kind: ``loss_fn.*``, ``*.total_ops``."""
    first, dot, rest = _text(key).removeprefix(place.prefix).partition(".")
    last = rest.rpartition(".")[2]
    return first if not dot else f"*.{last}" if last in _COUNTERS else f"{first}.*"


def _types_remark(place: _Place, own: _Weights, loaded: list[str]) -> str:
    changed = Counter(
        f"{place.tensor(name).dtype} to {own[name].dtype}".replace("torch.", "")
        for name in loaded
        if place.tensor(name).dtype != own[name].dtype
    )
    return ", ".join(f"{count} entries converted from {types}" for types, count in changed.items())


def _fresh_remark(names: set[str]) -> str:
    names = {name for name in names if name.rpartition(".")[2] not in _COUNTERS}
    return f"not loaded, for training only: {_listed(sorted(names))}" if names else ""
