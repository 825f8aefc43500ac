"""The reaction-diffusion solver against `scipy.integrate.solve_ivp`, time beside error."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from ..data.reaction_diffusion import ReactionDiffusion, graded_times, initial_values, method_of_lines
from ..errors import UserError
from .worker import medians, timed


def solver(
    resolution: int, end_time: float, steps: int, trajectories: int, repeats: int, device: torch.device
) -> dict[str, pd.DataFrame]:
    """Measure the time of a trajectory and the relative L² error of u at `end_time`, against a converged method of lines.

    The baseline is RK45 at its default tolerances on the sparse operator, one trajectory at a time; ours solves `trajectories`
    together on `device`, in `steps` graded steps. Times are medians of `repeats`, in turn, after one run untimed.

    Raises a UserError if the end time is not positive and finite, or a solution does not stay finite.
    """
    try:
        times = graded_times(end_time, steps)
    except ValueError as error:
        raise UserError(f"--end-time: {error}") from None
    rate = method_of_lines(resolution)
    values = torch.stack([initial_values(seed, resolution) for seed in range(trajectories)])

    def lines(**options: Any) -> NDArray[np.float64]:
        solution = solve_ivp(rate, (0, end_time), values[0].numpy().ravel(), **options)
        if not solution.success:
            raise UserError(f"solve_ivp: {solution.message}")
        return solution.y[:, -1].reshape(2, resolution, -1)[0]

    def ours(dtype: torch.dtype) -> NDArray[np.float64]:
        u, v = values.to(device, dtype).unbind(1)
        try:
            return ReactionDiffusion(resolution).solve(u, v, times)[0][0].double().cpu().numpy()
        except FloatingPointError as error:
            raise UserError(f"ours, {dtype}: {error}") from None

    baseline = "solve_ivp, RK45, default tolerances"
    ways = {
        baseline: (partial(lines, method="RK45"), 1),
        f"ours, float64, {steps} steps": (partial(ours, torch.float64), trajectories),
        f"ours, float32, {steps} steps": (partial(ours, torch.float32), trajectories),
    }
    true = lines(method="DOP853", rtol=1e-9, atol=1e-9)
    ends = {name: solve() for name, (solve, _) in ways.items()}
    taken = medians({name: partial(timed, solve) for name, (solve, _) in ways.items()}, repeats)
    ms = pd.Series({name: 1e3 * taken[name] / count for name, (_, count) in ways.items()})
    errors = {name: ((end - true) ** 2).mean() ** 0.5 / (true**2).mean() ** 0.5 for name, end in ends.items()}
    table = pd.DataFrame({"ms per trajectory": ms, "relative error of u": errors, "times as fast": ms[baseline] / ms})
    title = f"{resolution} x {resolution} to t = {end_time:g} on {device}, ours {trajectories} trajectories at a time"
    return {title: table.rename_axis("solver").reset_index()}
