"""What all settings share: frozen models that refuse unknown keys, the types of their values, kinds, and one-line errors."""

import difflib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import core_schema

from ..errors import UserError
from .text import shortened

T = TypeVar("T")


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
    ANGLE = "angle"


class Start(StrEnum):
    """The law that samples start from at t = 1; see `Sampler.sample`."""

    PRIOR = "prior"
    GAUSSIAN = "gaussian"


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, none of which may be there twice."""
    if len(set(values)) < len(values):
        raise ValueError("an entry is there twice")
    return values


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError("there is no user of this name, whose folder ~ would be") from None


def _possible(path: str) -> str:
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG and "://" not in path:
            raise ValueError("no file system has paths as long as this; give a shorter one") from None
    return path


def _no_file(folder: str) -> str:
    there = next(each for each in (Path(folder), *Path(folder).parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ValueError(f"{there} is a file; name a folder")
    return folder


def up_to(most: int) -> AfterValidator:
    """A bound beyond all use, so that what is computed from a number stays within 64 bits."""

    def bounded(number: int) -> int:
        if number > most:
            raise ValueError(f"Input should be less than or equal to {most}")
        return number

    return AfterValidator(bounded)


def _without_null(entries: Any) -> Any:
    return {key: value for key, value in entries.items() if value is not None} if isinstance(entries, dict) else entries


@dataclass(frozen=True)
class InWords:
    """What a value must be, said instead of the check before it in an annotation that it does not pass."""

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.custom_error_schema(handler(source), "in_words", custom_error_message=self.words)


QUOTED = "quote what YAML takes for something else"
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60),
    InWords(f"a name has up to 60 lower-case letters, digits and hyphens between them; {QUOTED}"),
]
FileName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=60),
    InWords(f"a name has up to 60 lower-case letters, digits, and hyphens or underscores between them; {QUOTED}"),
]
Line = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x1f\x7f{}]*$"),
    InWords(f"one line of text without braces; {QUOTED}"),
]
PathText = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x1f\x7f]+$"),
    InWords(f"a path without control characters; {QUOTED}"),
    AfterValidator(_possible),
]
FilePath = Annotated[PathText, AfterValidator(_expanded)]
Folder = Annotated[
    str,
    Field(pattern=r"^[^-\s\x00-\x1f\x7f{}$]([^\x00-\x1f\x7f{}$]*[^\s\x00-\x1f\x7f{}$])?$", max_length=200),
    InWords(
        f"a folder, whose name has no braces, $ or line breaks, no - at its start and no space around it; {QUOTED}, or "
        "write ./2024"
    ),
    AfterValidator(_expanded),
    AfterValidator(_no_file),
]
Resolution = Annotated[int, Field(ge=3, strict=True), up_to(2**16)]
Count = Annotated[int, Field(ge=1, strict=True), up_to(10**9)]
SetSize = Annotated[int, Field(ge=2, strict=True), up_to(10**9)]
Seed = Annotated[int, Field(ge=0, strict=True), up_to(2**63 - 1)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Positive = Annotated[Finite, Field(gt=0)]
Several = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(distinct)]
Resolutions = Several[Resolution]
Removable = Annotated[T, BeforeValidator(_without_null)]
"""A mapping from names to entries, of which those that are null are left out."""


class Settings(BaseModel):
    """Frozen, and without keys that nobody reads."""

    model_config = {"frozen": True, "extra": "forbid"}

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, Mapping) else ():
            if key in cls.model_fields:
                continue
            close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(cls.model_fields)}"
            raise ValueError(f"unknown key '{shortened(str(key))}'; {hint}")
        return data


class Kinds:
    """Marks a key whose value names its `kind`: it is validated by the subclass of `base` that has this kind.

    The subclasses are looked up as a value is validated, so that subclasses in plugins count too. With `alone` a kind without
    its mapping is taken, "heun" for {kind: heun}.
    """

    def __init__(self, base: type[Settings], alone: bool = False) -> None:
        self.base, self.alone = base, alone

    def _validate(self, value: Any) -> Settings:
        if isinstance(value, self.base):
            return value
        given = {"kind": value} if self.alone and isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise ValueError("expected a mapping with its kind")
        kinds, kind = kinds_of(self.base), given.get("kind")
        if str(kind) not in kinds:
            wrong = f"there is no kind {shortened(repr(kind))}" if "kind" in given else "kind: needed"
            raise ValueError(f"{wrong}; there are {', '.join(map(repr, kinds))}, and the kinds of mld --plugin FILE")
        return kinds[str(kind)].model_validate(given)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        kinds = kinds_of(self.base)
        members = Annotated[Union[tuple(kinds.values())], Field(discriminator="kind")]  # noqa: UP007
        mapping = handler(TypeAdapter(members).core_schema)
        return {"anyOf": [{"enum": list(kinds)}, mapping]} if self.alone else mapping


def kinds_of(base: type[Settings]) -> dict[str, type[Settings]]:
    """The subclasses of `base` by the literal that is their `kind`. Raises a UserError if two have the same."""
    found: dict[str, type[Settings]] = {}
    for member in base.__subclasses__():
        field, below = member.model_fields.get("kind"), kinds_of(member)
        own = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
        for kind, each in [*((kind, member) for kind in own), *below.items()]:
            if kind in found:
                raise UserError(f"{each.__module__}: there is a {base.__name__} of kind '{kind}' already; rename it")
            found[kind] = each
    return found


def distinct_gains(gains: Sequence[Gain], resolution: int, reference: int) -> tuple[Gain, ...]:
    """The gains that differ on a grid: where a network was trained (N_ref) all agree, and the first stands for them."""
    return tuple(dict.fromkeys(gains))[: 1 if resolution == reference else None]


def parse(model: type[T], data: Any, source: str, within: str = "") -> T:
    """Validate `data`. Raises a UserError, one line that names the source and the first wrong key, `within` a section or not."""
    try:
        return TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(shortened(str(part)) for part in (within, *first["loc"]) if part != "")
        message = first["msg"].removeprefix("Value error, ")
        given = first["input"]
        got = "" if isinstance(given, Mapping) or first["type"] == "missing" else f", got {shortened(repr(given))}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        line = f"{source}: {key + ': ' if key else ''}{message}{got}{more}"
        raise UserError(" ".join(line.split())) from None
