from __future__ import annotations

from typing import Annotated

import typer


def solver(
    resolution: Annotated[int, typer.Option(min=8)] = 128,
    end_time: Annotated[float, typer.Option()] = 2.5,
    steps: Annotated[int, typer.Option(min=1, help="Graded time steps.")] = 20,
    trajectories: Annotated[int, typer.Option(min=1, help="Solved together by ours.")] = 64,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """The reaction-diffusion solver against solve_ivp (RK45, default tolerances, sparse operator), time beside error."""
    import statistics
    import time

    import torch
    from scipy.integrate import solve_ivp

    from ...config import UserError
    from ...data.reaction_diffusion import ReactionDiffusion, graded_times, initial_values, method_of_lines
    from ..build import device
    from .report import show

    rate, on = method_of_lines(resolution), device()
    values = torch.stack([initial_values(seed, resolution) for seed in range(trajectories)])
    start, span = values[0].numpy().ravel(), (0, end_time)
    try:
        times = graded_times(end_time, steps)
    except ValueError as error:
        raise UserError(f"--end-time: {error}") from None

    def method_of_lines_end(**options):
        solution = solve_ivp(rate, span, start, **options)
        if not solution.success:
            raise UserError(f"solve_ivp: {solution.message}")
        return solution.y[:, -1].reshape(2, resolution, -1)[0]

    true = method_of_lines_end(method="DOP853", rtol=1e-9, atol=1e-9)

    def ours(dtype):
        u, v = values.to(on, dtype).unbind(1)
        return ReactionDiffusion(resolution).solve(u, v, times)[0][0].double().cpu().numpy()

    rows = []
    for name, solve, count in (
        ("solve_ivp, RK45, default tolerances", lambda: method_of_lines_end(method="RK45"), 1),
        (f"ours, float64, {steps} steps", lambda: ours(torch.float64), trajectories),
        (f"ours, float32, {steps} steps", lambda: ours(torch.float32), trajectories),
    ):
        try:
            end, seconds = solve(), []
        except FloatingPointError as error:
            raise UserError(f"{name}: {error}") from None
        for _ in range(repeats):
            before = time.perf_counter()
            solve()
            seconds.append((time.perf_counter() - before) / count)
        median = statistics.median(seconds)
        error = float(((end - true) ** 2).mean() ** 0.5 / (true**2).mean() ** 0.5)
        rows.append({"solver": name, "ms a trajectory": 1e3 * median, "relative error of u": error})
    for row in rows:
        row["times as fast"] = rows[0]["ms a trajectory"] / row["ms a trajectory"]
        row["relative error of u"] = f"{row['relative error of u']:.1e}"
    show(f"{resolution} x {resolution} to t = {end_time:g} on {on}, ours {trajectories} trajectories at a time", rows)
