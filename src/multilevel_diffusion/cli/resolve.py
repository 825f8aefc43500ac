from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output


def resolve(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Configuration files, later ones on top.")],
    arm: Annotated[str, typer.Option(metavar="EXPERIMENT/ARM", help="As mixture/fno-combined.")],
    output: Output,
    target: Annotated[
        bool, typer.Option("--target", help="Only what the true law depends on, not how a network is trained.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, VALUE as YAML: preset=smoke.")
    ] = None,
    presets: Annotated[Path, typer.Option(help="Folder of the preset overlays.")] = Path("workflow/presets"),
) -> None:
    """Freeze the settings of one arm into spec.json, or those of its true law into target.json."""
    import yaml

    from ..config import UserError, arm_spec, load_config
    from ..storage import write_json

    overrides = {}
    for text in set_ or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set: '{text}' is not KEY=VALUE")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set: '{text}': not valid YAML: {' '.join(str(error).split())}") from None
    config = load_config(configs, overrides, presets)
    experiment, _, name = arm.partition("/")
    spec = arm_spec(config, experiment, name)
    write_json(output, (spec.target if target else spec).model_dump(mode="json"))
