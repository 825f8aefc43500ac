from __future__ import annotations

from typing import Annotated

import typer

from .options import Output, Seed, Spec


def train(
    spec: Spec,
    seed: Seed,
    output: Output,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 30.0,
) -> None:
    """Train one arm up its ladder: OUTPUT/model.safetensors, history.csv and snapshots/.

    Killed and started again, it goes on from its last checkpoint and ends with the same numbers.
    """
    import shutil
    import time

    import torch

    from ..config import ArmSpec, Gain, parse
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_json, source_digest, write_csv
    from ..training import Trainer
    from .build import build_denoiser, build_network, device, write_model
    from .prior import build_prior
    from .progress import progress

    arm = parse(ArmSpec, read_json(spec), source=str(spec))
    on, prior, network = device(), build_prior(arm), build_network(arm, seed)
    identity = {"spec": arm.model_dump(mode="json"), "seed": seed, "device": on.type, "torch": torch.__version__}
    identity["source"] = source_digest()
    start = time.perf_counter()

    def facts() -> dict[str, object]:
        return provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3))

    trainer = Trainer(
        network.to(on),
        build_denoiser(arm, network, prior, Gain.VALUES),
        arm.training,
        draw=GaussianMixture(prior).sample,
        grid=Torus,
        loss_scale=arm.native_resolution**2,
        generator=generator(seed, "train", arm.experiment, arm.arm, device=on),
        folder=output / "checkpoint",
        identity=identity,
        write_model=lambda path, network: write_model(path, network, prior, arm, seed, facts()),
        checkpoint_seconds=checkpoint_seconds,
    )
    with progress(trainer.epochs, f"train {arm.experiment}/{arm.arm}, seed {seed}", len(trainer.history)) as advance:
        history = trainer.run(lambda row: advance(f"loss {row['loss']:.5f} at {row['resolution']}"))

    write_model(output / "model.safetensors", trainer.result, prior, arm, seed, facts())
    write_csv(output / "history.csv", history, facts())
    trainer.checkpoint.unlink(missing_ok=True)
    shutil.rmtree(output / "snapshots", ignore_errors=True)
    trainer.snapshots.rename(output / "snapshots")
    trainer.folder.rmdir()
