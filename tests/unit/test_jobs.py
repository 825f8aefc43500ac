"""What jobs ask for: at least what was measured of them, and more for larger ones."""

import pytest
import yaml

from multilevel_diffusion.bench.jobs import Costs, Jobs
from multilevel_diffusion.settings import load_config

RUN = {"experiment": "mixture", "arm": "fno-combined", "seed": "1"}


@pytest.fixture
def jobs(root):
    """The jobs of preset paper with other settings of the mixture."""
    costs = Costs.model_validate(yaml.safe_load((root / "workflow/resources.yaml").read_text()))

    def made(**mixture):
        overrides = {"preset": "paper"} | ({"experiments": {"mixture": mixture}} if mixture else {})
        return Jobs(costs, load_config([root / "config.yaml"], overrides, root / "workflow/presets"))

    return made


@pytest.mark.parametrize(
    ("rule", "settings", "wildcards", "megabytes", "seconds"),
    [
        ("train", {"training": {"ladder": [{"resolution": 32, "steps": 10}]}}, {}, 1203, 6.0),
        ("train", {"training": {"ladder": [{"resolution": 64, "steps": 10}]}}, {}, 3371, 15.8),
        ("sample", {"gains": ["values"], "sampling": {"steps": 4, "samples": 256, "resolutions": [64]}}, {}, 807, 4.6),
        ("sample", {"gains": ["values"], "sampling": {"steps": 4, "samples": 64, "resolutions": [128]}}, {}, 2214, 4.4),
        ("mixture_data", {"sampling": {"samples": 1000}}, {"resolution": "64"}, 1255, 0),
        ("evaluate", {"gains": ["values"], "sampling": {"samples": 1000, "resolutions": [64]}}, {}, 1122, 15),
        ("evaluate", {"gains": ["values"], "sampling": {"samples": 4000, "resolutions": [32]}}, {}, 2181, 40),
        (
            "log_density_values",
            {"log_density": {"samples": 32, "steps": 4, "resolutions": [64], "drawn_on": 128}},
            {},
            1135,
            5.2,
        ),
    ],
    ids=["train-32", "train-64", "sample-64", "sample-128", "data", "evaluate-64", "evaluate-32", "log-density"],
)
def test_a_job_asks_for_what_was_measured_of_it_and_not_for_ten_times_as_much(
    jobs, rule, settings, wildcards, megabytes, seconds
):
    made = jobs(**settings)
    asked, _ = made.asked(rule, RUN | wildcards, threads=1, gpu=0)
    assert megabytes < asked < 4 * megabytes + 2000
    take = made.take(rule, RUN | wildcards)
    assert take.seconds + take.network < 10 * seconds + 1
    assert made.costs.margin["seconds"] * made.seconds(take, 1, 0) > seconds


def test_every_job_of_the_paper_that_takes_long_is_counted(jobs):
    made = jobs()
    for rule in (
        "train",
        "sample",
        "sample_exact",
        "score_error",
        "convergence_values",
        "log_density_exact",
        "truncation",
    ):
        take = made.take(rule, RUN | {"resolution": "64"})
        assert take.network > 0, rule
        assert take.bytes > 0, rule
    digits = {"experiment": "mnist", "arm": "unet-standard", "seed": "1"}
    assert (
        made.take("along_training", digits).network > made.take("along_training", digits | {"arm": "fno-fno"}).network
    )
    assert made.take("data_reaction-diffusion", {}).network > 0
    assert made.take("fig1", {}) == made.take("", {})  # seconds, and the memory of a start


def test_more_threads_and_a_gpu_take_less_time(jobs):
    made = jobs()
    take = made.take("train", RUN)
    minutes = [made.asked("train", RUN, threads, gpu)[1] for threads, gpu in ((1, 0), (4, 0), (4, 1))]
    assert minutes == sorted(minutes, reverse=True)
    assert minutes[0] > 2 * minutes[1]
    assert take.network > 100 * take.seconds


def test_the_costs_are_those_of_the_table_of_scaling(root, jobs, mld):
    said = mld("bench", "jobs", root / "results/reference/laptop/figures/cost.csv", "--threads", 2)
    assert said.code == 0, said.err
    found, costs = yaml.safe_load(said.out), jobs().costs
    assert float(found["overhead"]) == pytest.approx(costs.overhead, rel=0.1)
    for name, value in found["networks"]["fno"].items():
        assert float(value) == pytest.approx(getattr(costs.networks["fno"], name), rel=0.1)
