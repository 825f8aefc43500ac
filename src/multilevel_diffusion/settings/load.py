"""The configuration of a run: config.yaml, a preset on top, then what the command line overrides."""

import difflib
import itertools
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from ..columns import LABELS, METRICS, NO_DISTANCES, QUANTITIES
from ..errors import UserError
from .base import Count, FileName, FilePath, Folder, Gain, Line, Name, Removable, Settings, Start, parse
from .catalogue import DRAWINGS, FigureSettings, TableSettings
from .claims import ClaimsSettings, QuantitySettings
from .data import DataBase
from .experiments import ArmSpec, ExperimentSettings, merge
from .plugins import load_plugins
from .text import read_yaml, shortened

Plugins = tuple[FilePath, ...]
FROM_METRICS = ("distances", "transfer", "power")
"""Kinds of tables that are made from the table `metrics`."""
NEEDED = {
    "priors": "data of their own, as a mixture has none",
    "power": "arm with network: {kind: gaussian}",
    "transfer": "arm is sampled on the grid it was trained on and on another",
}
"""What kinds of tables are made of, that not every experiment has."""


class Config(Settings):
    """All settings of a run."""

    preset: Name = Field(description="Overlay in workflow/presets: smoke, laptop, study or paper.")
    results: Folder = Field(description="Folder of what the workflow makes, one subfolder per preset.")
    max_threads: Count | None = Field(None, description="Threads of a job; null: a share of the cores, all if paired.")
    gpu: Literal["auto", 0, 1] = Field(
        "auto", description="GPUs of a job that can use one; auto: one where this machine has any, none on a cluster."
    )
    stamp: Line | None = Field(
        None, description="What is written across every figure, as of a run whose numbers mean nothing."
    )
    container: str | None = Field(
        None, description="Image (docker://…) or file (.sif) that jobs run in, where Snakemake is to use Apptainer."
    )
    plugins: Plugins = Field((), description="Files with priors, networks, samplers and data of your own.")
    experiments: dict[Name, ExperimentSettings] = Field(description="Experiments by name; null removes one.")
    figures: Removable[dict[FileName, FigureSettings]] = Field({}, description="Figures by name; null removes one.")
    tables: Removable[dict[FileName, TableSettings]] = Field({}, description="Tables by name; null removes one.")
    claims: ClaimsSettings | None = Field(None, description="What the paper says, and when it counts as reproduced.")
    _broken: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def broken(self) -> dict[str, str]:
        """What is wrong with the experiments that cannot be run, by name."""
        return self._broken

    def data_set(self, experiment: str) -> str | None:
        """The experiment whose data an experiment is trained on and compared with: itself, or another; a mixture has none."""
        settings = self.experiments[experiment]
        return None if settings.mixture else settings.data_set or experiment

    def data_of(self, experiment: str) -> DataBase:
        """The data of an experiment, its own data or the data of its data set."""
        return self.experiments[self.data_set(experiment) or experiment].data

    @property
    def drawn(self) -> dict[str, FigureSettings]:
        """The figures of experiments that can be run, and for each that has none, figures of its samples, losses and sections."""
        found = {name: figure for name, figure in self.figures.items() if figure.experiment in self.experiments}
        shown = {figure.experiment for figure in found.values()}
        for name in self.experiments:
            found |= {} if name in shown else self._default_figures(name)
        return found

    @property
    def made(self) -> dict[str, TableSettings]:
        """The tables for which there is an experiment that can be run and has what they need."""
        return {name: table for name, table in self.tables.items() if self._can_be_made(table)}

    def _default_figures(self, experiment: str) -> dict[str, FigureSettings]:
        settings = self.experiments[experiment]
        draws = {"samples": "fields", "losses": "losses"} if settings.validation else {"samples": "fields"}
        draws |= {kind: kind for kind, each in DRAWINGS.items() if each.section and getattr(settings, each.section)}
        return {
            f"{experiment}-{name}": FigureSettings(draw=draw, experiment=experiment, title=f"{name} of {experiment}")
            for name, draw in draws.items()
        }

    def check(self) -> None:
        """Raises a UserError if anything that is not one experiment's own does not fit."""
        for name, figure in self.figures.items():
            self._demand_experiment(figure.experiment, f"config: figures.{name}")
        for name, figure in self.drawn.items():
            self._demand_figure(figure, f"config: figures.{name}")
        for name, table in self.tables.items():
            where = f"config: tables.{name}"
            for experiment in table.experiments or ():
                self._demand_experiment(experiment, where)
                settings, section = self.experiments.get(experiment), table.drawing.section
                if settings and section and not getattr(settings, section):
                    raise UserError(f"{where}: a table of {table.make} needs experiments.{experiment}.{section}")
            for arm in table.arms or ():
                self._demand_arm(table.experiments[0], arm, where)
            if table.make in FROM_METRICS:
                self._demand_metrics(name, table)
            if table.experiments and not (self._can_be_made(table) or self.broken.keys() & {*table.experiments}):
                raise UserError(f"{where}: {', '.join(table.experiments)}: no {NEEDED[table.make]}")
            if table.baseline:
                self._demand_baseline(table, where)
            if table.drawing.one_arm and len(table.arms or ()) > 1:
                raise UserError(f"{where}: arms: {table.make} is of one arm; give one table for each")
            if table.drawing.one_arm and table.experiments[0] in self.experiments:
                arms = table.arms or tuple(self.experiments[table.experiments[0]].arms)
                self._demand_measured(table.experiments[0], table.drawing.section, arms[0], where)
        for name, claim in self.claims.each if self.claims else ():
            for key, criterion in claim.criteria.items():
                self._demand_quantity(criterion.quantity, f"config: claims.rows.{name}: {key}")

    def _can_be_made(self, table: TableSettings) -> bool:
        """Whether there is what a table is made of."""
        names = [name for name in table.experiments or self.experiments if name in self.experiments]
        settings = [self.experiments[name] for name in names]
        match table.make:
            case "priors":
                return any(self.data_set(name) == name for name in names)
            case "power":
                return any(arm.network.kind == "gaussian" for each in settings for arm in each.arms.values())
            case "transfer":
                return any(each.is_transferred(arm) for each in settings for arm in each.arms)
            case "claims":
                return bool(self.claims and self.claims.rows)
        return bool(names)

    def _demand_metrics(self, name: str, table: TableSettings) -> None:
        """What is made from the table of metrics is about experiments that are in it."""
        metrics = self.tables.get("metrics")
        if metrics is None:
            raise UserError(
                f"config: tables.{name}: is made from the table metrics, which is removed; remove {name} too"
            )
        if metrics.make != "metrics":
            raise UserError(f"config: tables.metrics.make: {name} is made from it, and so it must be metrics")
        if missing := {*(table.experiments or ())} - {*(metrics.experiments or table.experiments or ())}:
            raise UserError(f"config: tables.{name}: experiments: {sorted(missing)[0]} is not in the table metrics")

    def _demand_baseline(self, table: TableSettings, where: str) -> None:
        """What ladders are compared with is trained, and among the arms of the table."""
        (experiment,), arm = table.experiments, table.baseline
        self._demand_arm(experiment, arm, where)
        if arm not in (table.arms or (arm,)):
            raise UserError(f"{where}: arms: {arm}, the baseline, must be among them")
        if experiment in self.experiments and self.experiments[experiment].arms[arm].network.kind == "gaussian":
            raise UserError(f"{where}: baseline: {arm} is not trained; give an arm that is")
        self._demand_timed(experiment, where)

    def _demand_quantity(self, quantity: QuantitySettings, where: str) -> None:
        """A claim is about rows of a table with one value per seed, by columns that it has."""
        if quantity.table not in self.tables:
            raise UserError(f"{where}: there is no table '{quantity.table}' under tables")
        drawing, against = self.tables[quantity.table].drawing, dict(quantity.against)
        if not drawing.columns:
            judged = ", ".join(name for name, table in self.tables.items() if table.drawing.columns)
            raise UserError(f"{where}: table {quantity.table} has no values per seed; those that have are {judged}")
        number = against.pop("column", "value")
        if number in LABELS:
            raise UserError(f"{where}: column: {number} is a column of text; give one of numbers, as floor")
        for column, value in (*quantity.of.items(), *against.items(), (number, 0)):
            if column not in drawing.columns:
                has = ", ".join(drawing.columns)
                raise UserError(f"{where}: table {quantity.table} has no column {column}; it has {has}")
            if column not in LABELS and isinstance(value, str):
                raise UserError(f"{where}: {column}: '{value}' is text in a column of numbers; leave the quotes out")
            known = {"metric": METRICS, "quantity": QUANTITIES, "gain": [*Gain]}.get(column)
            named = str(value).rstrip("0123456789") if column == "quantity" else str(value)
            if known and named not in known:
                close = difflib.get_close_matches(str(value), known, n=1, cutoff=0)[0]
                raise UserError(f"{where}: {column}: there is no '{value}'; did you mean '{close}'?")
        if missing := [column for column in drawing.names if column not in quantity.of]:
            raise UserError(f"{where}: of: must say which {' and '.join(missing)}")
        if quantity.debiased:
            metric = quantity.of.get("metric")
            if "scale" not in drawing.columns or metric in NO_DISTANCES or "metric" in against:
                raise UserError(f"{where}: debiased: only one metric, a distance, has a floor to be without")
            if "power" not in self.tables:
                raise UserError(
                    f"{where}: a claim about distances needs the table power, which is removed; remove it too"
                )
        for row in (quantity.of, quantity.of | against):
            self._demand_arm(row["experiment"], row["arm"], where)

    def _demand_figure(self, figure: FigureSettings, where: str) -> None:
        settings, section = self.experiments[figure.experiment], figure.drawing.section
        arms = tuple(settings.arms) if figure.arms is None else figure.arms
        if not arms and (settings.mixture or figure.draw != "fields"):
            raise UserError(
                f"{where}: arms: give one; only figures of fields, not of a mixture, are of the test set alone"
            )
        for arm in arms:
            self._demand_arm(figure.experiment, arm, where)
        if figure.arms and len(arms) > 1:
            if figure.drawing.one_arm:
                raise UserError(f"{where}: arms: {figure.draw} is of one arm; give one figure for each")
            if (
                settings.mixture
                and figure.draw == "fields"
                and len({str(settings.arms[arm].prior) for arm in arms}) > 1
            ):
                raise UserError(
                    f"{where}: arms: they have several priors, and so several test sets; give one figure for each"
                )
        if section and not getattr(settings, section):
            raise UserError(f"{where}: a figure of {figure.draw} needs experiments.{figure.experiment}.{section}")
        if figure.drawing.one_arm:
            self._demand_measured(figure.experiment, section, arms[0], where)
        if figure.draw == "ladders":
            self._demand_timed(figure.experiment, where)
        fields = getattr(self.data_of(figure.experiment), "train", None)
        trained = [arm for arm in arms if settings.arms[arm].network.kind != "gaussian"]
        for arm, epoch in itertools.product(trained, figure.epochs):
            training = settings.training_of(arm)
            last = training.epochs(fields)
            every = training.snapshot_every
            if not every or epoch > last or (epoch % every and epoch != last):
                raise UserError(f"{where}: epochs: {arm} has no snapshot after epoch {epoch}; see snapshot_every")

    def _demand_measured(self, experiment: str, section: str, arm: str, where: str) -> None:
        """What is measured of one arm suits its network."""
        network, measured = (
            self.experiments[experiment].arms[arm].network,
            getattr(self.experiments[experiment], section),
        )
        said = f"{where}: experiments.{experiment}.{section}"
        if not all(map(network.takes, measured.resolutions)):
            raise UserError(f"{said}.resolutions: the network of {arm} needs {network.needs}")
        if getattr(measured, "start", Start.PRIOR) is Start.GAUSSIAN and not network.has_law:
            raise UserError(
                f"{said}.start: gaussian, but {arm} has no Gaussian fit; show an arm that has, or start from prior"
            )

    def _demand_timed(self, experiment: str, where: str) -> None:
        """Ladders are compared by their losses on test fields on one finest grid."""
        settings = self.experiments.get(experiment)
        if settings is None:
            return
        if settings.validation is None or not settings.validation.test:
            raise UserError(f"{where}: ladders are compared by test losses; give {experiment}.validation.test")
        finest = {settings.training_of(arm).reference_resolution for arm in settings.arms}
        if len(finest) > 1:
            raise UserError(f"{where}: all ladders of {experiment} must end on the same level, got {sorted(finest)}")

    def _demand_experiment(self, experiment: str | None, where: str) -> None:
        if experiment not in self.experiments and experiment not in self.broken:
            raise UserError(f"{where}: there is no experiment '{experiment}'; there are {', '.join(self.experiments)}")

    def _demand_arm(self, experiment: str | None, arm: str | None, where: str) -> None:
        self._demand_experiment(experiment, where)
        if experiment in self.experiments and arm not in self.experiments[experiment].arms:
            known = ", ".join(self.experiments[experiment].arms)
            raise UserError(f"{where}: there is no arm '{experiment}/{arm}'; the arms are {known}")


def _beside(plugin: str, files: Sequence[Path]) -> str:
    """Where a plugin lies: in the working folder, or beside a configuration file, the user's own ones first."""
    path = Path(plugin).expanduser()
    places = [path, *(file.parent / path for file in reversed(files))]
    return str(next((place for place in places if place.exists()), path))


def load_config(
    files: Sequence[Path], overrides: Mapping[str, Any], presets: Path, only: Collection[str] | None = None
) -> Config:
    """Read the first configuration file, then the preset, then the other files in order, then `overrides`.

    An experiment whose own settings are wrong does not stop the others: `Config.broken` says what is wrong with it.

    Args:
        presets: folder with one YAML overlay per preset.
        only: the experiments that are asked for, which must be sound; all others, figures, tables and claims are then left out.

    Raises a UserError that names the file or key and the mend.
    """
    base, *layers = [_read_settings(file) for file in files]
    preset = reduce(merge, [base, *layers, overrides]).get("preset")
    known = sorted(path.stem for path in presets.glob("*.yaml"))
    if preset is None:
        raise UserError(f"{files[0]}: names no preset; give config.yaml before files of your own")
    if not known:
        wrong = f"no YAML in {presets}, where a checkout has the presets that lie over its config.yaml"
        raise UserError(f"--presets: {wrong}; give that folder, or the config.yaml of a checkout")
    if preset not in known:
        raise UserError(f"preset: '{shortened(str(preset))}' is not one of {', '.join(known)} (the files in {presets})")
    settings = base
    for layer in (_read_settings(presets / f"{preset}.yaml"), *layers, {"preset": preset}, overrides):
        _demand_removable(settings, layer)
        settings = merge(settings, layer)
    plugins = parse(Plugins, settings.get("plugins") or (), "config", "plugins")
    settings = settings | {"plugins": [_beside(plugin, files) for plugin in plugins]}
    load_plugins(settings["plugins"])
    given = parse(dict[Name, dict[str, Any] | None], settings.get("experiments"), "config", "experiments")
    entries = {name: entry for name, entry in given.items() if entry is not None}
    if only is not None:
        for name in set(only) - entries.keys():
            raise UserError(f"config: there is no experiment '{name}'; there are {', '.join(entries)}")
        sources = {entries[name].get("data_set") for name in only}
        entries = {name: entry for name, entry in entries.items() if name in {*only, *sources}}
        settings = {key: value for key, value in settings.items() if key not in ("figures", "tables", "claims")}
    sound, broken = {}, {}
    for name, entry in entries.items():
        try:
            sound[name] = parse(ExperimentSettings, entry, "config", f"experiments.{name}")
        except UserError as error:
            broken[name] = str(error)
    if not entries:
        raise UserError("config: experiments: none is left")
    removed = dict.fromkeys(_null(given), "removed; remove this one too, or give it other data")
    for name, entry in sorted(
        sound.items(), key=lambda item: item[1].data is None
    ):  # what others use the data of comes first
        unsound = removed | {each: f"broken: {reason}" for each, reason in broken.items()}
        if fault := _fault_of_data(name, entry, sound, unsound):
            broken[name] = f"config: experiments.{name}: {fault}"
            del sound[name]
    if only is not None and broken:
        raise UserError(next(iter(broken.values())))
    config = parse(Config, settings | {"experiments": sound}, "config")
    if only is None:
        removed = {(name, arm) for name, entry in entries.items() for arm in _null(entry.get("arms"))}
        config = _without(config, {*_null(given)}, removed, {*_null(settings.get("tables"))})
        config._broken.update(broken)
        config.check()
    return config


def arm_spec(config: Config, experiment: str, arm: str) -> ArmSpec:
    """The slice of the configuration that training one arm reads. Raises a UserError if there is no such arm."""
    settings = config.experiments.get(experiment)
    if settings is None or arm not in settings.arms:
        arms = ", ".join(f"{name}/{arm}" for name, member in config.experiments.items() for arm in member.arms)
        raise UserError(f"--arm: there is no arm '{experiment}/{arm}'; the arms are {arms}")
    chosen, names = settings.arms[arm], ("native_resolution", "prior_seed", "grid", "law", "paired", "validation")
    about = {"experiment": experiment, "arm": arm} | {name: getattr(settings, name) for name in names}
    about |= {"kind": config.data_of(experiment).kind, "data_set": config.data_set(experiment)}
    about |= {"network": chosen.network, "prior": chosen.prior, "gain": chosen.gain or Gain.VALUES}
    return ArmSpec(**about, training=settings.training_of(arm))


def tuned(config: Config, paper: Config, experiment: str, arm: str) -> bool:
    """Whether an arm that the paper has too is trained on other data, or by other settings, than in its configuration."""

    def trained(config: Config) -> Any:
        data = config.data_of(experiment).model_dump(exclude={"sources", "validation", "test"})
        looked_at: Any = {
            "validation": True,
            "training": {"snapshot_every": True},
        }  # which no number of a training depends on
        return arm_spec(config, experiment, arm).model_dump(exclude=looked_at), data

    return arm in getattr(paper.experiments.get(experiment), "arms", ()) and trained(config) != trained(paper)


def _fault_of_data(
    name: str, settings: ExperimentSettings, sound: Mapping[str, ExperimentSettings], unsound: Mapping[str, str]
) -> str | None:
    """What is wrong between an experiment and the data it uses; `unsound` says why other experiments are not there."""
    if settings.mixture:
        return None
    source = sound.get(settings.data_set or name)
    if source is None:
        return f"data_set: '{settings.data_set}' is {unsound.get(settings.data_set, 'not an experiment')}"
    if source.mixture or source.data is None:
        return f"data_set: '{settings.data_set}' is not an experiment with a file of data"
    if (settings.grid, settings.native_resolution) != (source.grid, source.native_resolution):
        return f"grid and native_resolution must be as in {settings.data_set}"
    try:
        settings.demand_fields(source.data)
    except ValueError as error:
        return str(error)
    return None


def _null(entries: Any) -> list[str]:
    """The names of what is removed from a mapping."""
    return [name for name, entry in entries.items() if entry is None] if isinstance(entries, Mapping) else []


def _demand_removable(below: Mapping[str, Any], layer: Mapping[str, Any]) -> None:
    """Raises a UserError if a layer removes what is not below it."""
    there = _removable(below)
    for where, given in _removable(layer).items():
        for name in _null(given):
            if name not in (known := there.get(where) or {}):
                raise UserError(f"config: {where}.{name}: nothing to remove; there are {', '.join(known)}")


def _removable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The mappings whose entries null removes, by where they stand."""
    groups = {key: settings.get(key) for key in ("experiments", "figures", "tables")}
    claims = settings.get("claims")
    groups["claims.rows"] = claims.get("rows") if isinstance(claims, Mapping) else None
    experiments = groups["experiments"] if isinstance(groups["experiments"], Mapping) else {}
    entries = {name: entry for name, entry in experiments.items() if isinstance(entry, Mapping)}
    return groups | {f"experiments.{name}.arms": entry.get("arms") for name, entry in entries.items()}


def _without(config: Config, experiments: set[str], arms: set[tuple[str, str]], tables: set[str]) -> Config:
    """The configuration without figures, tables and claims that are about nothing but what is removed."""

    def left(experiment: Any, given: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(arm for arm in given if (experiment, arm) not in arms)

    figures, kept, rows = {}, {}, {}
    for name, figure in config.figures.items():
        shown = figure.arms and left(figure.experiment, figure.arms)
        if figure.experiment not in experiments and bool(shown) == bool(figure.arms):
            figures[name] = figure.model_copy(update={"arms": shown})
    for name, table in config.tables.items():
        of = table.experiments and tuple(each for each in table.experiments if each not in experiments)
        judges, shown = table.make != "claims" or config.claims, table.arms and left(table.experiments[0], table.arms)
        about = of is None or (of and (of[0], table.baseline) not in arms)
        if judges and about and bool(shown) == bool(table.arms):
            kept[name] = table.model_copy(update={"experiments": of, "arms": shown})
    tables = tables | config.tables.keys() - kept.keys()
    for name, claim in config.claims.rows.items() if config.claims else ():
        row, each = claim.quantity.of, claim.each
        experiment, about = row.get("experiment"), [row.get("arm"), claim.quantity.against.get("arm")]
        judged = left(experiment, each.get("arm", ()))
        if (
            experiment not in experiments
            and claim.quantity.table not in tables
            and len(left(experiment, about)) == len(about)
            and bool(judged) == ("arm" in each)
        ):
            rows[name] = claim.model_copy(update={"each": each | ({"arm": judged} if judged else {})})
    claims = config.claims and config.claims.model_copy(update={"rows": rows})
    return config.model_copy(update={"figures": figures, "tables": kept, "claims": claims})


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        data = read_yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if data is not None and not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of settings, got {type(data).__name__}")
    return data or {}
