"""The columns of every table, and the one function that makes a row of them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .errors import UserError

LABELS = (
    *("experiment", "arm", "network", "prior", "gain", "ladder", "sampler", "metric", "trace", "run"),
    *("observed", "method", "posterior"),
    *(
        "quantity",
        "against",
        "preset",
        "claim",
        "figure",
        "settings",
        "statement",
        "criterion",
        "verdict",
        "points_to",
        "first_written",
    ),
)
"""The columns of text. Whatever a file has there is text, "32", "007" and "nan" included; what is empty is missing."""

COLUMNS = [
    *("experiment", "arm", "network", "prior", "gain", "ladder", "seed", "sampler", "steps", "resolution"),
    *(
        "metric",
        "value",
        "stderr",
        "floor",
        "floor_stderr",
        "floor_sets",
        "scale",
        "n_samples",
        "n_reference",
        "n_projections",
    ),
]
"""The tables of metrics, from `mld evaluate`, `mld truncation` and `mld table metrics`: one number per row.

floor: what as many true fields have as value, the mean over `floor_sets` disjoint sets of them, with its standard error. scale:
what the value is divided by to be without units, the data's standard deviation per unit area or 1; empty where neither is right.
"""

METRICS = (
    *("sliced_wasserstein", "moment_sliced_wasserstein", "moment_sliced_wasserstein_minmax", "max_sliced_wasserstein"),
    *("sliced_wasserstein_within", "component_share", "spectrum_distance", "pixel_distance", "histogram_distance"),
    *("increment_distance_near", "increment_distance_far", "increment_flatness_near", "increment_flatness_far"),
    *("mmd", "mmd_p_value", "nearest_neighbour_accuracy", "nearest_neighbour_p_value", "vendi_score"),
    *("frechet_distance", "class_entropy", "density", "coverage", "legible_share"),
    *("relative_score_error", "skill", "truncation_error", "truncation_rate"),
)
"""What the column `metric` names."""
NO_DISTANCES = (
    "vendi_score",
    "component_share",
    "density",
    "coverage",
    "class_entropy",
    "legible_share",
    "nearest_neighbour_accuracy",
)
"""Metrics whose floor is the value of true fields, on either side of which others may lie."""

ALONG_TRAINING_COLUMNS = [*COLUMNS, "epoch"]
"""The tables of `mld along-training`."""

CONVERGENCE_COLUMNS = [*COLUMNS, "evaluations"]
"""The tables of `mld convergence`."""

DENSITY_COLUMNS = [
    *("experiment", "arm", "network", "gain", "seed", "resolution", "drawn_on", "trace", "steps", "probes", "field"),
    *("estimate", "start", "closed_form", "plain", "finest"),
]
"""The tables of `mld log-density`: one row per field, grid and way to take the trace; `field` is its number."""

SCORE_COLUMNS = [
    *("experiment", "arm", "network", "prior", "ladder", "gain", "reference_resolution", "seed", "epoch"),
    *("resolution", "drawn_on", "n_samples"),
    *("squared_error", "squared_norm", "relative", "stderr", "loss", "exact_loss", "gaussian_loss"),
]
"""The tables of `mld score-error`: one row per snapshot, grid and gain."""

CONDITIONING_COLUMNS = [
    *("experiment", "arm", "network", "prior", "gain", "ladder", "seed", "resolution", "sampler", "steps"),
    *("observed", "method", "posterior", "value", "stderr", "n_observations", "n_truths", "n_samples"),
]
"""The tables of `mld condition`: one number per row; `posterior` names it, one of POSTERIOR."""

POSTERIOR = (
    *("crps", "crps_gain", "rmse", "rmse_gain", "coverage", "seconds", "seconds_ratio"),
    *("exact_mean_error", "exact_mean_floor", "exact_spread", "exact_coverage", "exact_weight_error"),
)
"""What the column `posterior` names."""

HISTORY_COLUMNS = ["experiment", "arm", "network", "prior", "ladder", "seed"]
HISTORY_COLUMNS += ["epoch", "resolution", "step", "loss", "seconds"]
"""What the history.csv of every training has, one row per epoch, beside validation_N, skill_N and test_N where asked for."""

QUANTITIES = ("seconds_per_step_", "seconds", "test_loss", "speedup", "loss_at_equal_time", "gap", "epochs_to_close")
"""What the column `quantity` names; the first goes on with a resolution."""
LADDER_COLUMNS = ["experiment", "arm", "ladder", "seed", "quantity", "value"]
"""The table of `mld table ladders`: one number per row."""

COST_COLUMNS = ["against", "value", "resolution", "batch", "width"]
COST_COLUMNS += ["seconds", "expected_seconds", "bytes", "expected_bytes"]
"""What the figure of costs reads of the table of `mld bench scaling`."""


COUNTS = (
    *("seed", "steps", "resolution", "floor_sets", "n_samples", "n_reference", "n_projections", "epoch", "step"),
    *("drawn_on", "reference_resolution", "evaluations", "field", "probes", "batch", "width"),
    *("n_observations", "n_truths"),
)
"""The columns of whole numbers."""

FORMS = {
    "gain": "values|coefficients",
    "ladder": r"\d+([-+]\d+)*",
    "trace": "exact|hutchinson",
    "against": "resolution|batch|width",
}
"""What a label must be, where not every text will do, as a regular expression."""

MAY_BE_EMPTY = {
    "evaluations": ("gain", "ladder", "n_reference", "n_projections"),
    "epoch": ("gaussian_loss", "n_reference"),
    "metric": ("gain", "ladder", "sampler", "steps", *COLUMNS[COLUMNS.index("stderr") :], "samples_needed"),
    "posterior": ("gain", "ladder", "sampler", "steps", "stderr"),
    "trace": ("gain", "probes"),
    "quantity": ("value",),
}
"""The columns in which a cell may be empty, by the first of these columns that a table has."""

MAY_BE_INFINITE = ("power",)


def skill_resolutions(columns: Iterable[str]) -> list[int]:
    """The resolutions N of columns skill_N, ascending. Raises a UserError if there are none."""
    found = sorted(int(name.removeprefix("skill_")) for name in columns if name.startswith("skill_"))
    if not found:
        raise UserError("no history has a column skill_N: only trainings with validation have one; train again")
    return found


def tidy_row(
    labels: Mapping[str, str | None],
    columns: Collection[str] = COLUMNS,
    *,
    seed: int,
    resolution: int,
    gain: str | None = None,
    **values: Any,
) -> dict[str, Any]:
    """A row with each of the columns, in their order; None is what does not apply.

    Args:
        labels: as the settings have them, `ArmSpec.labels`; what is no column of the table is left out.
        values: further columns by their names, as `metric="spectrum_distance", value=0.1`; a list is a column of several rows.

    Raises a TypeError if one of the values has no column.
    """
    if unknown := values.keys() - set(columns):
        raise TypeError(f"the table has no column {', '.join(sorted(unknown))}")
    row = {**labels, "seed": seed, "resolution": resolution, "gain": gain, **values}
    return {column: row.get(column) for column in columns}


def finest(ladder: str) -> int:
    """The resolution at which a ladder ends, of its label: 64 of "16-32-64" and of "16+32+64"."""
    return int(ladder.replace("+", "-").split("-")[-1])
