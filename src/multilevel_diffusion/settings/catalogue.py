"""The catalogue of figures and tables: what each kind shows and needs, and the settings of one.

The workflow makes a rule of every entry; captions, docs/workflow.md and the tests take their words and counts from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ..columns import COLUMNS, CONDITIONING_COLUMNS, CONVERGENCE_COLUMNS, LADDER_COLUMNS
from .base import Count, Line, Name, Settings, Several, distinct


@dataclass(frozen=True)
class Drawing:
    """A kind of figure or table.

    shows: the caption's first words. table: the stage's file that a run has of it, if that is its input. section: of an
    experiment's settings, which it needs. numbers: whether the numbers drawn lie beside the picture as a CSV. one_arm: of
    one arm alone. columns: of a table with one value per seed, which claims may be about; names: those that such a claim gives.
    """

    shows: str
    table: str | None = None
    section: str | None = None
    numbers: bool = True
    one_arm: bool = False
    columns: Sequence[str] = ()
    names: Sequence[str] = ("experiment", "arm", "metric")


DRAWINGS = {
    "score-error": Drawing(
        "Left, the relative squared error of the learned score, E‖F_θ − F‖² / E‖F‖² with F = √α_t Q∇log p_t, along "
        "training, at the training resolution and at finer ones. Right, the denoising loss. A colour is a resolution. Median "
        "over seeds, in a band from the least to the greatest; dashed: the Gaussian baseline.",
        table="score_error.csv",
        section="score_error",
    ),
    "fields": Drawing(
        "Fields on several grids: the test set, and below it samples of each arm under each gain. Always the first "
        "samples of the first seed; colours shared. Above them the sliced Wasserstein distance of all samples of this seed to "
        "the test set, and above the test set its floor.",
        numbers=False,
    ),
    "fields-and-losses": Drawing(
        "Fields on several grids: the test set, and below it samples of each arm under each gain, the first samples "
        "of the first seed, colours shared. Above them the sliced Wasserstein distance of all samples of this seed to the "
        "test set, and above the test set its floor. At the bottom, the denoising loss along training, one panel per arm.",
        table="history.csv",
    ),
    "along-training": Drawing(
        "Sliced Wasserstein distance of samples to the test set along training, one panel per prior, one curve per network "
        "and gain. Median over seeds, in a band from the least to the greatest. Grey: the floor, the distance of another test "
        "set of as many fields, ± the error of one such set. The axis ends at 1000 times the floor.",
        table="along_training.csv",
        section="along_training",
    ),
    "ladders": Drawing(
        "Loss on test fields on the finest grid along training, against epochs or time, one line per arm. Against epochs "
        "the median over seeds in a band, against time one line per seed; a point: a finer level begins.",
        table="history.csv",
    ),
    "losses": Drawing(
        "Denoising loss along training, one panel per arm: on training data, and on validation data at each resolution. "
        "Arms of one prior share their axis. Median over seeds, in a band from the least to the greatest; dotted: the Gaussian "
        "baseline.",
        table="history.csv",
    ),
    "skill": Drawing(
        "Skill against training steps, one panel per resolution: 1 − L / L_G, L the denoising loss on validation fields and "
        "L_G the loss of the Gaussian baseline (dotted). The baseline is the law N(m, C) of the training data without a "
        "network. Arms of one prior share a colour; dashed: preconditioned. Median over seeds, in a band from the least to the "
        "greatest; logarithmic below −1.",
        table="history.csv",
        section="validation",
    ),
    "samplers": Drawing(
        "Distance of samples to the test set against the number of evaluations of the denoiser, one curve per sampler, "
        "for the exact score and for the network. Full points: stochastic, open points: of the ODE. Grey: the floor ± the "
        "Monte Carlo error of one set of samples; dotted: Euler–Maruyama with the most evaluations.",
        table="convergence",
        section="convergence",
        one_arm=True,
    ),
    "posterior": Drawing(
        "What was observed of the first field, and its posterior: mean, standard deviation and three samples, of the first "
        "seed on the first grid. One row per method; beside them kriging, the posterior of the Gaussian fit, and, of a "
        "mixture, the exact one.",
        table="conditioning",
        section="conditioning",
        numbers=False,
        one_arm=True,
    ),
    "log-density": Drawing(
        "Log densities of true fields relative to the prior N(0,Q). Left, how they approach their limit as the grid is "
        "refined. Right, how far estimates along the probability-flow ODE are from the closed form. Root "
        "mean square over fields and seeds, in nats.",
        table="log_density",
        section="log_density",
        one_arm=True,
    ),
}
"""The kinds of figure, by name."""

TABLES = {
    "metrics": Drawing(
        "Every metric of every arm on every grid: mean over seeds ± standard deviation (mean floor), or ± the "
        "standard error of the metric where there is a single seed. The floor is the same metric between two "
        "independent test sets. Skill is on validation fields: 1 − L / L_G, against the denoising loss L_G of the Gaussian "
        "baseline, whose own skill, 0, is the floor.",
        columns=COLUMNS,
    ),
    "samplers": Drawing(
        "From how many evaluations on each sampler stays as near the test set as Euler–Maruyama with the most. a / b: "
        "within two standard errors of the difference, and within 1.5 times its distance.",
        table="convergence",
        section="convergence",
        one_arm=True,
        columns=CONVERGENCE_COLUMNS,
    ),
    "posterior": Drawing(
        "Posteriors of partly observed test fields, by each method: CRPS and rmse of the mean against the true "
        "field. Then, by how much lower they are than for kriging (the posterior of the Gaussian fit), and the share of true "
        "values in the central 90 % of the samples. Seconds are per sample, and over the seconds of an unconditional one. Of a "
        "mixture, against the exact posterior: error of the mean, its least for so many samples and ratio of the spreads, in the "
        "posterior's standard deviation. Then coverage, and error of the weight of a component.",
        table="conditioning",
        section="conditioning",
        one_arm=True,
        columns=CONDITIONING_COLUMNS,
        names=("experiment", "arm", "observed", "method", "posterior"),
    ),
    "ladders": Drawing(
        "What ladders of levels cost and save against the baseline, the training that starts on the finest grid: seconds "
        "per step on each level, and the final test loss. The speed-up is the time at which the baseline first comes down to "
        "its final loss over the time at which the ladder does. Then, the gap when the finest level begins and the epochs "
        "until it closes.",
        table="history.csv",
        columns=LADDER_COLUMNS,
        names=("experiment", "arm", "quantity"),
    ),
    "distances": Drawing(
        "Sliced Wasserstein distance to the test set, one row per data set, network, prior and gain, one column per resolution. "
        "A cell has the mean over seeds; then the distance without its floor, in standard deviations of the data, and its 95 % "
        "interval. The interval of a single seed holds the errors of samples and floor alone."
    ),
    "transfer": Drawing(
        "How much farther from the test set the same network is on each grid than on its training grid. A cell has the "
        "difference of sliced Wasserstein distances without their floors, in standard deviations of the data, and its 95 % "
        "interval. The interval of a single seed holds the errors of samples and floor alone. "
        "0 is a network that does as well on a grid it has never seen."
    ),
    "priors": Drawing(
        "How the noise of each prior compares with the data. First, the share of the variance and the power of the data "
        "in modes without noise, and the signal that is left at t = 1, which sampling takes for none. Then, how fast both "
        "spectra fall, as exponents p of k^(−p) over 2 ≤ k < N/3. Then, whether the noise is at least as rough as the "
        "data, as arXiv 2509.02971 asks. κ is the variance of the data over the variance of the noise, mode by mode; beside it "
        "is the share of modes with more data than noise. Last, by how much the standard deviation at t = 1 exceeds the prior's."
    ),
    "power": Drawing(
        "How far the Gaussian baseline, a mean and a covariance without training, lies above the floor of each metric, "
        "in standard errors of a perfect sampler of as many samples. Beside it, how many samples would give claims.power. A "
        "metric that the baseline passes judges no network."
    ),
    "claims": Drawing(
        "What the paper says, as quantities: each over seeds with its confidence interval, its criterion and the verdict. The "
        "interval holds the spread of seeds and samples and the error of the floor. Verdicts are corrected by Holm for the "
        "claims about a figure. Undecided: more seeds are needed, about as many as said. Cannot be told by this metric: the "
        "Gaussian baseline is as near the data (table power). Verdicts on trainings with other settings than the paper's, marked "
        "tuned, are not on the paper."
    ),
}
"""The kinds of table, by name."""

Arms = Annotated[tuple[Name, ...], AfterValidator(distinct)]


class _EntrySettings(Settings):
    title: Line = Field(description="What the report calls it.")
    paper: str = Field("Nothing: it is not in the paper.", description="What the paper says, for the report.")
    claims: tuple[str, ...] = Field(
        (), description="Claims are shown in its caption that are about it, or about one of these parts of the paper."
    )


class FigureSettings(_EntrySettings):
    """A figure: an entry of `figures`."""

    draw: Literal[tuple(DRAWINGS)] = Field(description="Kind of figure.")
    experiment: Name = Field(description="Experiment it is of.")
    arms: Arms | None = Field(None, description="Arms it shows, in this order; all by default.")
    count: Count = Field(3, description="Fields shown on each grid.")
    epochs: Annotated[tuple[Count, ...], AfterValidator(distinct)] = Field(
        (), description="Of figures of fields: epochs whose snapshots are sampled, instead of the final networks."
    )
    against: Several[Literal["epoch", "seconds"]] = Field(
        ("epoch",), description="Of figures of ladders: one panel against each."
    )

    @property
    def drawing(self) -> Drawing:
        """Its kind."""
        return DRAWINGS[self.draw]

    @model_validator(mode="after")
    def _options_are_of_its_kind(self) -> Self:
        given = self.model_fields_set
        for option, kinds in (("count", "fields"), ("epochs", "fields"), ("against", "ladders")):
            if option in given and not self.draw.startswith(kinds):
                raise ValueError(f"{option}: an option of figures of {kinds}, not of {self.draw}")
        return self


class TableSettings(_EntrySettings):
    """A table: an entry of `tables`."""

    make: Literal[tuple(TABLES)] = Field(description="Kind of table.")
    experiments: Several[Name] | None = Field(
        None, description="Experiments it is of; by default all that have what it needs."
    )
    arms: Several[Name] | None = Field(
        None, description="Arms of a table of ladders (by default all), samplers or posteriors (by default the first)."
    )
    baseline: Name | None = Field(
        None, description="Of a table of ladders: the arm that is trained on the finest level alone."
    )

    @property
    def drawing(self) -> Drawing:
        """Its kind."""
        return TABLES[self.make]

    @model_validator(mode="after")
    def _ladders_have_a_baseline(self) -> Self:
        if (self.make == "ladders") != (self.baseline is not None):
            raise ValueError("baseline: ladders need one, and other tables none")
        if self.make in ("ladders", "samplers", "posterior") and len(self.experiments or ()) != 1:
            raise ValueError(f"experiments: a table of {self.make} is of one experiment")
        if self.arms and self.make not in ("ladders", "samplers", "posterior"):
            raise ValueError(f"arms: an option of tables of ladders, samplers and posteriors, not of {self.make}")
        return self
