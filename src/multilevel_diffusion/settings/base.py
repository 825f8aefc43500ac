"""What all settings share: frozen models that refuse unknown keys, the types of their values, kinds, and one-line errors."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ..errors import UserError

__all__ = [
    "Count",
    "Gain",
    "Gains",
    "Geometry",
    "Kinds",
    "Name",
    "Positive",
    "Resolution",
    "Resolutions",
    "Seed",
    "Seeds",
    "SetSize",
    "Settings",
    "TimeGrid",
    "distinct",
    "distinct_gains",
    "kinds_of",
    "parse",
]

T = TypeVar("T")
_orders = itertools.count()


class Gain(StrEnum):
    """How a network's input is scaled on a grid it was not trained on; see `denoise.gain_factor`."""

    VALUES = "values"
    COEFFICIENTS = "coefficients"


class Geometry(StrEnum):
    """Where the values of a field lie; see `grids`."""

    TORUS = "torus"
    CELL_CENTRED = "cell-centred"


class TimeGrid(StrEnum):
    """Where a sampler evaluates the denoiser; see `sample.time_grid`."""

    UNIFORM = "uniform"
    LOG_SNR = "log-snr"
    KARRAS = "karras"


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, none of which may be there twice."""
    if len(set(values)) < len(values):
        raise ValueError("an entry is there twice")
    return values


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Resolution = Annotated[int, Field(ge=3, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
SetSize = Annotated[int, Field(ge=2, strict=True)]
Seed = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Resolutions = Annotated[tuple[Resolution, ...], Field(min_length=1), AfterValidator(distinct)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(distinct)]
Gains = Annotated[tuple[Gain, ...], Field(min_length=1), AfterValidator(distinct)]


class Settings(BaseModel):
    """Frozen, and without keys that nobody reads. `order` counts classes as they are defined."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    order: ClassVar[int] = -1

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.order = next(_orders)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data.keys() - cls.model_fields.keys():
                close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key '{key}'; {hint}")
        return data


class Kinds:
    """Marks a key whose value names its `kind`: it is validated by the subclass of `base` that has this kind.

    The subclasses are looked up when the schema is built, so that those of plugins count too (see `plugins.load_plugins`).

    Args:
        alone: a kind without its mapping is taken too, "heun" for {kind: heun}.
    """

    def __init__(self, base: type[Settings], alone: bool = False) -> None:
        self.base, self.alone = base, alone

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        members = Union[tuple(kinds_of(self.base).values())]  # noqa: UP007
        tagged: Any = Annotated[members, Field(discriminator="kind")]
        if self.alone:
            tagged = Annotated[
                tagged, BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value)
            ]
        return handler.generate_schema(tagged)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        mapping = handler(schema)
        return {"anyOf": [{"enum": list(kinds_of(self.base))}, mapping]} if self.alone else mapping


def kinds_of(base: type[Settings]) -> dict[str, type[Settings]]:
    """The kinds of a family of settings: `kind` to the subclass whose `kind` is that literal.

    Raises:
        UserError: if two subclasses have the same kind.
    """
    found: dict[str, type[Settings]] = {}
    for member in _subclasses(base):
        field = member.model_fields.get("kind")
        if field is None or get_origin(field.annotation) is not Literal:
            continue
        for kind in get_args(field.annotation):
            if kind in found:
                raise UserError(f"{member.__module__}: there is a {base.__name__} of kind '{kind}' already; rename it")
            found[kind] = member
    return found


def distinct_gains(gains: Sequence[Gain], resolution: int, reference: int) -> tuple[Gain, ...]:
    """The gains that differ on a grid: where a network was trained (N_ref) all agree, and the first stands for them."""
    return tuple(dict.fromkeys(gains))[: 1 if resolution == reference else None]


def parse(model: type[T], data: Any, source: str, within: str = "") -> T:
    """Validate `data`; a failure becomes one line that names the source and the first wrong key, `within` a section or not.

    Raises:
        UserError
    """
    try:
        return TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([*([within] if within else []), *_keys(data, first["loc"])])
        message = " ".join(first["msg"].removeprefix("Value error, ").split())
        if first["type"] == "union_tag_invalid":
            tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"]
            message = f"there is no kind '{tag}'; there are {known}, and those of plugins (mld --plugin FILE)"
        given = first["input"]
        got = "" if isinstance(given, Mapping) or first["type"] == "missing" else f", got {given!r}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{source}: {key + ': ' if key else ''}{message}{got}{more}") from None


def _keys(data: Any, location: tuple[str | int, ...]) -> list[str]:
    """The keys on the way to a fault, without the kinds that pydantic names between them."""
    keys = []
    for part in location:
        if isinstance(data, Mapping) and part not in data and part == data.get("kind"):
            continue
        keys.append(str(part))
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return keys


def _subclasses(base: type) -> list[type]:
    direct = base.__subclasses__()
    return direct + [member for each in direct for member in _subclasses(each)]
