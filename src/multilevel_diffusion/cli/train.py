from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output, Seed, Spec


def train(
    spec: Spec,
    seed: Seed,
    output: Output,
    data: Annotated[
        Path | None, typer.Option(help="File of `mld data`; the mixture needs none, being drawn as training goes.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 30.0,
) -> None:
    """Train one arm up its ladder: OUTPUT/model.safetensors, history.csv and snapshots/.

    Killed and started again, it goes on from its last checkpoint and ends with the same numbers.
    """
    import hashlib
    import shutil
    import time
    from functools import partial

    import torch

    from ..config import ArmSpec, UserError, parse
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_json, read_tensors, source_digest, write_csv
    from ..training import Dataset, Trainer, Validation
    from .build import Model, build_denoiser, build_network, device, write_model
    from .prior import build_grid, build_prior
    from .progress import progress

    arm = parse(ArmSpec, read_json(spec), source=str(spec))
    on, prior, network = device(), build_prior(arm), build_network(arm, seed).to(device())
    grid, settings, denoiser = partial(build_grid, arm), arm.training, build_denoiser(arm, network, prior, arm.gain)
    identity = {"spec": arm.model_dump(mode="json"), "seed": seed, "device": on.type, "torch": torch.__version__}
    identity |= {"source": source_digest()}
    start, validate, target = time.perf_counter(), None, arm.target.model_dump(mode="json")

    if arm.experiment == "mixture":
        if data:
            raise UserError("--data: the mixture is drawn as training goes; leave the option out")
        mixture, steps_in_pass = GaussianMixture(prior), None

        def batches(grid, stream, batch_size, steps):
            return (mixture.sample(batch_size, grid, stream) for _ in range(steps))

    else:
        if not data:
            raise UserError(f"--data: training of {arm.experiment} needs the file of `mld data {arm.data_set}`")
        tested = arm.validation.test
        tensors, header = read_tensors(data, need=("train", "validation", *(["reference"] if tested else [])))
        target = header["target"]
        if (target["experiment"], header["resolution"]) != (arm.data_set, arm.native_resolution):
            raise UserError(f"{data}: not data of {arm.data_set} at {arm.native_resolution}, as {spec} asks for")
        if tested > len(tensors.get("reference", ())):
            raise UserError(f"{data}: only {len(tensors['reference'])} test fields, but validation.test is {tested}")
        identity |= {name: hashlib.sha256(fields.numpy()).hexdigest() for name, fields in tensors.items()}
        native = grid(arm.native_resolution)
        trained = Dataset(tensors["train"].to(on), native)
        batches, steps_in_pass = trained.batches, trained.steps
        for level in settings.ladder:
            trained.on(grid(level.resolution))  # now, so that no step's time has it in
        grids = [grid(resolution) for resolution in arm.validation.resolutions]
        held_out = {"validation": tensors["validation"]} | ({"test": tensors["reference"][:tested]} if tested else {})
        losses = {
            name: Validation(Dataset(fields.to(on), native), grids, arm.validation.draws, denoiser, on)
            for name, fields in held_out.items()
        }

        def validate(network):
            trial = build_denoiser(arm, network, prior, arm.gain)
            return {f"{name}_{n}": loss for name, each in losses.items() for n, loss in each.losses(trial).items()}

    def facts() -> dict[str, object]:
        return provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3))

    def write(path, network, epoch):
        write_model(path, Model(arm, seed, epoch, target, network, prior), facts())

    trainer = Trainer(
        network,
        denoiser,
        settings,
        batches=batches,
        steps_in_pass=steps_in_pass,
        grid=grid,
        loss_scale=arm.native_resolution**2,
        generator=generator(seed, "train", *arm.stream, device=on),
        folder=output / "checkpoint",
        identity=identity,
        write_model=write,
        checkpoint_seconds=checkpoint_seconds,
        validate=validate,
    )
    with progress(
        len(trainer.epochs), f"train {arm.experiment}/{arm.arm}, seed {seed}", len(trainer.history)
    ) as advance:
        history = trainer.run(lambda row: advance(f"loss {row['loss']:.5f} at {row['resolution']}"))

    write(output / "model.safetensors", trainer.result, trainer.kept)
    write_csv(output / "history.csv", history.assign(**arm.labels, seed=seed), facts() | {"settings": identity["spec"]})
    trainer.checkpoint.unlink(missing_ok=True)
    shutil.rmtree(output / "snapshots", ignore_errors=True)
    trainer.snapshots.mkdir(parents=True, exist_ok=True)
    trainer.snapshots.rename(output / "snapshots")
    trainer.folder.rmdir()
