"""Settings as text: the one reader of YAML, for configuration files and values of the command line, and the one writer.

Scalars are as in YAML 1.2: numbers are decimal and may have an exponent without a point, as 5e-1. What YAML 1.1 takes for
something else, as 010, 1:30 or 2020-01-01, is read as it stands.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml

from ..errors import UserError

LARGEST, DEEPEST, LONGEST = 100_000, 50, 80
"""Of what is read, at most: entries, those behind an alias counted every time, and levels; and letters of it in a message."""
TAG = "tag:yaml.org,2002:"
SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+(_[0-9]+)*", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
)
"""What a scalar without quotes is, by its form and first letter, in this order; else it is text."""
TAGS = ("null", "bool", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, and tags that no setting has."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar = {
        tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (None, *(TAG + name for name in TAGS))
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node, first = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            before = first.setdefault((key.tag, str(key.value)), key)
            if before is not key:
                twice = f"'{key.value}' is there twice, first in line {before.start_mark.line + 1}; remove one"
                raise yaml.MarkedYAMLError(problem=twice, problem_mark=key.start_mark)
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would read as something else."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


for _tag, _form, _first in SCALARS:
    _Loader.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_form})$"), _first)
_Loader.add_constructor(f"{TAG}int", lambda loader, node: int(loader.construct_scalar(node)))
_Dumper.add_representer(
    str, lambda to, text: to.represent_scalar(f"{TAG}str", text, style='"' if "\n" in text else None)
)


def read_yaml(text: str | bytes, source: str) -> Any:
    """What a text in YAML stands for; bytes are in UTF-8, or in UTF-16 with its mark.

    Raises a UserError, one line that names the source, if it is not YAML, has a key twice, or is senselessly large or deep.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        reason = line + ", ".join(filter(None, (error.context, error.problem)))
    except yaml.YAMLError as error:
        reason = str(error)
    except RecursionError:
        reason = f"nested more than {DEEPEST} levels deep"
    except (ValueError, LookupError) as error:
        reason = str(error).partition(";")[0]
    else:
        _demand_bounded(value, source)
        return value
    raise UserError(f"{source}: not valid YAML: {' '.join(reason.split())}") from None


def plain(value: Any) -> Any:
    """Texts in mappings and lists as a scalar without quotes is read, for the values that `--config` keeps as texts."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if not isinstance(value, str):
        return value
    loader = _Loader("")
    try:
        return loader.construct_object(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, value, (True, False)), value))
    except (yaml.YAMLError, ValueError):  # a merge key, or more digits than Python reads
        return value


def flow(value: Any) -> str:
    """A value as YAML on one line, which `read_yaml` reads as the same value."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def shortened(text: str) -> str:
    """A text as a message of one line has it."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _demand_bounded(value: Any, source: str) -> None:
    left, entries = [(value, 0)], 0
    while left:
        each, depth = left.pop()
        entries += 1
        if entries > LARGEST or depth > DEEPEST:
            raise UserError(
                f"{source}: more than {LARGEST} entries or {DEEPEST} levels, or an alias within its own anchor"
            )
        inner = each.values() if isinstance(each, Mapping) else each if isinstance(each, list) else ()
        left += [(one, depth + 1) for one in inner]
