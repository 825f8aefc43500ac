"""How far a learned Q-score is from the exact one of a Gaussian mixture (figure 1)."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch

from ..builders import build_grid
from ..checkpoints import Checkpoint
from ..columns import SCORE_COLUMNS, tidy_row
from ..denoise import Denoiser
from ..gaussian import GaussianDenoiser, GaussianLaw
from ..grids import Torus, restrict, squared_norm
from ..mixture import GaussianMixture, MixtureDenoiser
from ..models import Model, device_of, require_mixture
from ..sde import ForwardSDE
from ..settings import Gain, distinct_gains
from ..storage import generator as random_stream


@torch.no_grad()
def measure(
    denoiser: Denoiser,
    exact: MixtureDenoiser,
    grid: Torus,
    *,
    batches: int,
    batch_size: int,
    generator: torch.Generator,
    drawn_on: Torus | None = None,
    law: GaussianLaw | None = None,
) -> dict[str, float]:
    """Distance of a denoiser's Q-score from the exact one on fresh samples, t ~ U(0, 1) stratified within each batch.

    The standard error is of stratified sampling, by differences of neighbouring strata (collapsed strata). Data and noise
    are drawn on the finer grid `drawn_on` and restricted. `law` is the Gaussian baseline.

    Returns:
        Means over (t, u_t) in squared L² norm, of F = √α_t Q∇log p_t. squared_error: E‖F_θ − F‖². squared_norm: E‖F‖². relative:
        their ratio, and stderr its standard error. loss, exact_loss, gaussian_loss: denoising losses E ½‖(b_t/√α_t) F + η‖² of
        the learned score, of the exact score and of the Gaussian baseline (NaN if there is none), on the same draws.
    """
    baseline = GaussianDenoiser(law) if law else None
    sde, source, device = exact.sde, drawn_on or grid, generator.device
    columns = []
    for _ in range(batches):
        uniform = 1 - torch.rand(batch_size, generator=generator, device=device)  # in (0, 1]: F has no value at t = 0
        t = (torch.arange(batch_size, device=device) + uniform) / batch_size
        u_0 = restrict(exact.mixture.sample(batch_size, source, generator), source, grid)
        eta = restrict(exact.prior.sample(batch_size, source, generator), source, grid)
        u_t = sde.perturb(u_0, t, eta)
        learned, true = denoiser.predict_noise(u_t, t, grid), exact.predict_noise(u_t, t, grid)
        weight = sde.alpha(t) / sde.noise_scale(t) ** 2
        gaussian = baseline.predict_noise(u_t, t, grid) if baseline else torch.full_like(eta, math.nan)
        factors = (weight, weight, 0.5, 0.5, 0.5)
        fields = (learned - true, true, eta - learned, eta - true, eta - gaussian)
        squares = [factor * squared_norm(field) for factor, field in zip(factors, fields, strict=True)]
        columns.append(torch.stack(squares).double())
    sums = torch.cat(columns, dim=1)
    error, norm, *losses = sums.mean(dim=1).tolist()
    residual = sums[0] - error / norm * sums[1]
    pairs = residual[: 2 * (len(residual) // 2)].view(-1, 2)
    stderr = pairs.diff(dim=1).square().sum().sqrt().item() / len(residual) / norm
    about_score = {"squared_error": error, "squared_norm": norm, "relative": error / norm, "stderr": stderr}
    return about_score | dict(zip(("loss", "exact_loss", "gaussian_loss"), losses, strict=True))


def score_error(
    models: Iterable[Model],
    *,
    resolutions: Sequence[int],
    batches: int,
    batch_size: int,
    gains: Sequence[Gain],
    law: GaussianLaw | None = None,
    keep: Checkpoint | None = None,
) -> pd.DataFrame:
    """Squared error of the learned Q-score of every model of a mixture, see `measure`.

    Where N_ref is below the native resolution, it is measured there once more on fields that are drawn on the native grid and
    restricted, under the first gain.

    Args:
        law: the Gaussian baseline, whose loss is noted too.
        keep: where rows that are done are kept.

    Returns:
        One row per model, grid and gain, one where gains agree, of SCORE_COLUMNS. reference_resolution: N_ref.

    Raises a UserError if a model was not trained on a mixture, or its network does not take a resolution.
    """
    keep, rows = keep or Checkpoint(), []
    options = {"batches": batches, "batch_size": batch_size, "law": law}
    for model in models:
        spec, reference, native = model.settings, model.settings.reference_resolution, model.settings.native_resolution
        require_mixture(spec, spec.name)
        direct = [(n, n, gain) for n in resolutions for gain in distinct_gains(gains, n, reference)]
        restricted = [(reference, native, gains[0])] if native > reference else []
        for n, drawn_on, gain in direct + restricted:
            make = partial(_row, model, n, drawn_on, gain, **options)
            rows += keep.rows(f"{model.epoch}-{n}-{drawn_on}-{gain}", make)
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def _row(model: Model, n: int, drawn_on: int, gain: Gain, **options: Any) -> list[dict[str, Any]]:
    """The row of one model, grid and gain, on fields that are drawn on the grid `drawn_on`."""
    spec, seed, epoch, on = model.settings, model.seed, model.epoch, device_of()
    exact = MixtureDenoiser(GaussianMixture(model.prior), ForwardSDE())
    stream = random_stream(seed, "score-error", spec.experiment, spec.arm, epoch, n, drawn_on, device=on)
    denoiser, grid = model.to(on).denoiser(gain), build_grid(spec, n)
    found = measure(denoiser, exact, grid, generator=stream, drawn_on=Torus(drawn_on), **options)
    about = {"gain": gain, "seed": seed, "epoch": epoch, "resolution": n, "drawn_on": drawn_on}
    about |= {"reference_resolution": spec.reference_resolution}
    about |= {"n_samples": options["batches"] * options["batch_size"]}
    return [tidy_row(spec.labels, SCORE_COLUMNS, **about, **found)]
