from __future__ import annotations

from typing import Annotated

import typer

from .options import PRESETS, Configs, Output, Overrides, Presets, parse_overrides


def resolve(
    configs: Configs,
    arm: Annotated[str, typer.Option(metavar="EXPERIMENT/ARM", help="As mixture/fno-combined.")],
    output: Output,
    target: Annotated[
        bool, typer.Option("--target", help="Only what the true law depends on, not how a network is trained.")
    ] = False,
    set_: Overrides = None,
    presets: Presets = PRESETS,
) -> None:
    """Freeze the settings of one arm into spec.json, or those of its true law into target.json."""
    from ..config import arm_spec, load_config
    from ..storage import write_json

    config = load_config(configs, parse_overrides(set_), presets)
    experiment, _, name = arm.partition("/")
    spec = arm_spec(config, experiment, name)
    write_json(output, (spec.target if target else spec).model_dump(mode="json"))
