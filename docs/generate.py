"""Make of the documentation what comes from the code and from results/reference; `--check` tells whether it agrees.

These are configuration.md with its JSON schema, commands.md, and what stands between marks in README.md and all pages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import included
import typer
import yaml
from pydantic.json_schema import GenerateJsonSchema

from multilevel_diffusion.cli import app
from multilevel_diffusion.settings import Config, load_config

HERE = Path(__file__).resolve().parent
COMMANDS = """# Command line

This page is what `mld COMMAND --help` says, made by `python docs/generate.py`. Every rule of the workflow runs one of these
commands. A wrong input ends in one line on stderr and exit code 1, a wrong call in exit code 2.
"""
OPENING = """# config.yaml, key by key

This page is made from the settings by `python docs/generate.py`, and so is
[configuration.schema.json](configuration.schema.json), with which an editor completes and checks: `#
yaml-language-server: $schema=docs/configuration.schema.json` as the first line of a file. Neither knows the kinds
that [plugins](extending/README.md) add.

**An experiment** is data, arms, training and sampling: an entry of `experiments`, under a name of your choice. An arm
is a network under a prior, trained once for each seed. Your own experiment is one more entry: with `data: {kind:
fields, source: …}`, arms, `training`, `validation` and `sampling` it is complete, and `snakemake NAME` trains,
samples, measures and draws it.

**Layers.** What a run reads is laid on top of one another, and later layers win. They are `config.yaml`; the preset
(a file in `workflow/presets`; `--config preset=smoke` picks one); each `--configfile
FILE`; and `--config KEY=VALUE`. Mappings are laid on one another key by key, so that a layer
holds only what it changes. Lists are replaced whole. A mapping that names its `kind` replaces the one below it whole:
`network: {width: 8}` changes a width, `network: {kind: fno, …}` is another network. `mld resolve` takes the same
layers, the last one as `--set KEY=VALUE`.

**null** under `experiments`, `arms`, `figures`, `tables` or `claims.rows` removes the entry, and with an experiment
or an arm the figures, tables and claims that are about nothing else. Anywhere else it is a value, where the type says
so.

**Text.** YAML is read as version 1.2 has it: `5e-1` is a number; `010` is ten; `yes`, `1:30` and `2020-01-01` are
text. A key that is there twice is refused. Snakemake (seen with 9.27.1) reads `--config` and `--configfile` before us. A
mapping given to `--config` comes as texts, of which we type numbers, truth values and null. Of a key in it that is
there twice, the last one stays. What is no `NAME=VALUE` ends in the words and the stack of Snakemake. So do files
that its own YAML does not read (another encoding than UTF-8, dates that are none, 5,000 digits). `mld resolve
config.yaml FILE` says what is wrong with such a file.

Everything is checked before anything runs. An unknown key is refused with the nearest known one. An experiment that
does not fit together stops only the targets that need it. A *name* is of lower-case letters, digits and hyphens;
in headings, NAME is one that you choose, and `[]` is an entry of a list.
"""


class _Generator(GenerateJsonSchema):
    """Without the titles of keys, which only repeat them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """The JSON schema of all layers together: an entry may be null, and an arm's training has some keys of the experiment's."""
    made = Config.model_json_schema(schema_generator=_Generator)
    for model in (made, *made["$defs"].values()):
        for key in model.get("properties", {}).values():
            if entry := _entry(key):
                removable = {"anyOf": [{"$ref": entry}, {"type": "null"}]}
                names = key.pop("patternProperties", None)
                key["additionalProperties"] = False if names else removable
                key |= {"patternProperties": dict.fromkeys(names, removable)} if names else {}
    some = {key: value for key, value in made["$defs"]["TrainingSettings"].items() if key != "required"}
    made["$defs"]["ArmTraining"] = some | {"title": "ArmTraining", "description": "Some keys of `training`."}
    training = made["$defs"]["ArmSettings"]["properties"]["training"]
    made["$defs"]["ArmSettings"]["properties"]["training"] = {
        "$ref": "#/$defs/ArmTraining",
        "default": training["default"],
        "description": training["description"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made


def page() -> str:
    """The Markdown page."""
    made = Config.model_json_schema(schema_generator=_Generator)
    sections = _sections(made)
    where = {name: path for path, names in sections.items() for name in names}
    blocks = [OPENING, "## All settings\n\n" + _table(made, made, where)]
    for path, names in sections.items():
        models = [made["$defs"][name] for name in names]
        if "kind" not in models[0]["properties"]:
            blocks.append(f"## `{path}`\n\n{models[0]['description']}\n\n{_table(models[0], made, where)}")
            continue
        blocks.append(f"## `{path}`\n\nOne of these kinds.\n")
        for model in models:
            kind = model["properties"]["kind"]
            blocks.append(f"**`kind: {kind['const']}`** {kind['description']}\n\n{_table(model, made, where)}")
    return "\n".join(block.rstrip("\n") + "\n" for block in blocks)


def _entry(key: dict[str, Any]) -> str | None:
    """Where the settings are of which a key is a mapping, by name."""
    values = [*key.get("patternProperties", {}).values(), key.get("additionalProperties")]
    return next((value["$ref"] for value in values if isinstance(value, dict) and "$ref" in value), None)


def _sections(made: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Path to the settings that stand there, several if they are of kinds; in the order of the keys, each class once."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(model: dict[str, Any], path: str) -> None:
        for key, value in model["properties"].items():
            for names, suffix in _members(value):
                models = [made["$defs"][name] for name in names]
                if "properties" in models[0] and names not in found.values():
                    found[path + key + suffix] = names
                    for below in models:
                        walk(below, path + key + suffix + ".")

    walk(made, "")
    return found


def _members(value: dict[str, Any], suffix: str = "") -> Iterator[tuple[tuple[str, ...], str]]:
    """The settings that a key holds, and how an entry of its mapping or list is written."""
    if "$ref" in value:
        yield (value["$ref"].rpartition("/")[2],), suffix
    if "oneOf" in value:
        yield tuple(each["$ref"].rpartition("/")[2] for each in value["oneOf"]), suffix
    for each in value.get("anyOf", ()):
        yield from _members(each, suffix)
    if entry := _entry(value):
        yield (entry.rpartition("/")[2],), suffix + ".NAME"
    if "items" in value:
        yield from _members(value["items"], suffix + "[]")


def _table(model: dict[str, Any], made: dict[str, Any], where: dict[str, str]) -> str:
    """The keys of a model but its kind as a table, or nothing if it has none."""
    rows = []
    for key, value in model["properties"].items():
        if key == "kind":
            continue
        default = "needed" if key in model.get("required", ()) else _code(value["default"])
        cells = (f"`{key}`", _type(value, made["$defs"], where), default, value["description"])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n" if rows else ""


def _code(value: Any) -> str:
    """A value as YAML, in code."""
    return (
        f"`{yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix('...' + chr(10)).strip()}`"
    )


def _type(value: dict[str, Any], defs: dict[str, Any], where: dict[str, str]) -> str:
    """A type in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return _link(where[name]) if name in where else _type(defs[name], defs, where)
    if "oneOf" in value:
        return _type(value["oneOf"][0], defs, where)
    if "anyOf" in value:
        return _either([_type(each, defs, where) for each in value["anyOf"]])
    if "enum" in value and "type" not in value:
        return "a kind alone"
    if "enum" in value:
        return _either([f"`{each}`" for each in value["enum"]])
    if "const" in value:
        return f"`{value['const']}`"
    if entry := _entry(value):
        return f"names to {_type({'$ref': entry}, defs, where)}"
    match value.get("type"):
        case "array" if "prefixItems" in value:
            return "two of: " + _type(value["prefixItems"][0], defs, where)
        case "array":
            return "list of: " + _type(value["items"], defs, where)
        case "object":
            inner = value.get("additionalProperties")
            return "mapping" + (f" to: {_type(inner, defs, where)}" if isinstance(inner, dict) else "")
        case "integer" | "number" as kind:
            return kind + _bounds(value)
        case "string" if value.get("pattern") == "^[a-z0-9]+(-[a-z0-9]+)*$":
            return "name"
        case "string":
            return "text"
        case "boolean":
            return "`true` or `false`"
    return str(value.get("type"))


def _link(path: str) -> str:
    """A link to the section of a path, by the last key in it."""
    anchor = "".join(
        letter for letter in path.lower() if letter.isalnum() or letter in "_-"
    )  # as GitHub makes them of headings
    return f"[{path.removesuffix('[]').removesuffix('.NAME').rpartition('.')[2].replace('_', ' ')}](#{anchor})"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _bounds(value: dict[str, Any]) -> str:
    """The range of a number."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    return f" {' and '.join(said)}" if said else ""


def catalogue() -> str:
    """The table of figures and tables on the page of the workflow: those of any preset, and what they are made from."""
    root = HERE.parent
    presets = root / "workflow" / "presets"
    names = ["paper", *sorted({path.stem for path in presets.glob("*.yaml")} - {"paper"})]
    configs = [load_config([root / "config.yaml"], {"preset": name}, presets) for name in names]
    figures = _first(configs, "figures")
    tables = _first(configs, "tables")
    lines = ["| figure or table | target | files in `results/{preset}/` | of |", "|---|---|---|---|"]
    for name, (figure, only) in figures.items():
        suffixes = "svg,png,csv" if figure.drawing.numbers else "svg,png"
        lines.append(f"| {figure.title}{only} | `{name}` | `figures/{name}.{{{suffixes}}}` | `{figure.experiment}` |")
    for name, (table, only) in tables.items():
        target = f"{name}_table" if name in figures else name
        of = ", ".join(f"`{each}`" for each in table.experiments or ["all"])
        lines.append(f"| {table.title}{only} | `{target}` | `tables/{name}.{{csv,md,html}}` | {of} |")
    lines.append(
        "| Figures and metrics of one experiment | its name | `figures/`, `tables/NAME-metrics.{csv,md,html}` | one |"
    )
    lines.append(
        "| Time and memory of a training step; not part of `all` | `cost` | `figures/cost.{svg,png,csv}` | none |"
    )
    lines.append(
        "| **One page with everything**: captions, verdicts, run times, graph of rules | `report` | `report.html` | all |"
    )
    return "\n".join(lines)


def _first(configs: list[Config], kind: str) -> dict[str, tuple[Any, str]]:
    """Figures or tables by name, from the first configuration that has them, and its preset in words if it is a later one."""
    found: dict[str, tuple[Any, str]] = {}
    for config in configs:
        only = "" if config is configs[0] else f" (preset `{config.preset}`)"
        for name, entry in getattr(config, kind).items():
            found.setdefault(name, (entry, only))
    return found


def commands() -> str:
    """The Markdown page with the help of every command."""
    blocks = [COMMANDS]

    def add(command: Any, path: tuple[str, ...]) -> None:
        context = typer.Context(command, info_name=" ".join(path), terminal_width=84)
        blocks.append(
            f"{'#' * (len(path) + 1)} `{' '.join(path)}`\n\n```text\n{command.get_help(context).strip()}\n```\n"
        )
        for name, inner in getattr(command, "commands", {}).items():
            add(inner, (*path, name))

    add(typer.main.get_command(app), ("mld",))
    return "\n".join(blocks)


def files() -> dict[Path, str]:
    """The files that are made, with what belongs into them."""
    makers = {"catalogue": catalogue, "table": included.table, "claims": included.claims, "headline": included.headline}
    pages = [HERE.parent / "README.md", *sorted(HERE.rglob("*.md"))]
    made = {
        HERE / "configuration.md": page(),
        HERE / "configuration.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        HERE / "commands.md": commands(),
    }
    return {path: included.filled(path, makers) for path in pages if path not in made} | made


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        old = [str(path) for path, text in files().items() if not path.is_file() or path.read_text() != text]
        sys.exit(
            f"{', '.join(old)}: not what the code and the results say; run `python docs/generate.py`" if old else 0
        )
    for path, text in files().items():
        path.write_text(text)
