"""What the mixture is there to show, from the laptop preset, one seed: the whole way from config.yaml to numbers."""

import pytest

from multilevel_diffusion.storage import read_csv
from multilevel_diffusion.tables import score_error_metrics

pytestmark = pytest.mark.long  # three minutes: `make faults` runs it, `make test` does not


@pytest.fixture(scope="module")
def errors(mld, root, tmp_path_factory):
    """Relative squared score error, median of the last ten epochs, by gain and resolution."""
    folder = tmp_path_factory.mktemp("laptop")
    spec, presets = folder / "spec.json", root / "workflow/presets"
    resolve = ["resolve", root / "config.yaml", "--set", "preset=laptop", "--presets", presets]
    grids = ["--resolution", 32, "--resolution", 51, "--resolution", 64, "--gain", "values", "--gain", "coefficients"]
    for command in [
        [*resolve, "--arm", "mixture/fno-combined", "-o", spec],
        ["train", spec, "--seed", 11, "-o", folder],
        ["score-error", folder / "snapshots", *grids, "--batches", 1, "--batch-size", 64, "-o", folder / "scores.csv"],
    ]:
        for unused in sorted((folder / "snapshots").glob("*"))[:-5]:
            unused.unlink()
        done = mld(*command)
        assert done.code == 0, done.err
    table = score_error_metrics(read_csv(folder / "scores.csv"))
    return {(row.gain, row.resolution): row.value for row in table.itertuples()}


def test_the_score_is_learned_on_the_training_grid(errors):
    assert errors["values", 32] <= 0.03


@pytest.mark.parametrize("resolution", [51, 64])
def test_the_score_transfers_to_grids_never_seen_odd_ones_included(errors, resolution):
    assert errors["values", resolution] <= 1.5 * errors["values", 32]


def test_the_released_gain_does_not_transfer(errors):
    assert errors["coefficients", 64] >= 0.1
    assert errors["coefficients", 64] > 5 * errors["values", 64]
