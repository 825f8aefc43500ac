"""The configuration of a run: config.yaml, a preset on top, then what the command line overrides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr

from ..errors import UserError
from .base import Count, Gain, Name, Settings, parse
from .catalogue import FigureSettings, TableSettings
from .claims import ClaimsSettings
from .data import DataBase
from .experiments import ArmSpec, ExperimentSettings, merge
from .plugins import load_plugins

__all__ = ["Config", "arm_spec", "load_config"]


class Config(Settings):
    """All settings of a run."""

    preset: Name = Field(description="Overlay in workflow/presets: smoke, laptop or paper.")
    results: str = Field(
        pattern=r"^[\w./-]+$", description="Folder of everything that the workflow makes, one subfolder a preset."
    )
    max_threads: Count | None = Field(
        None, description="Threads of a job; null for a share of the cores, or all where trainings are timed."
    )
    plugins: tuple[str, ...] = Field(
        (), description="Python files with priors, networks, samplers and data of your own."
    )
    experiments: dict[Name, ExperimentSettings] = Field(description="By name; null removes one.")
    figures: dict[str, FigureSettings] = Field({}, description="By name; null removes one.")
    tables: dict[str, TableSettings] = Field({}, description="By name; null removes one.")
    claims: ClaimsSettings | None = Field(
        None, description="What the paper says, and when it is held to be reproduced."
    )
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
        """The data of an experiment, its own or those of its data set."""
        return self.experiments[self.data_set(experiment) or experiment].data

    def check(self) -> None:
        """Raises a UserError if anything that is not one experiment's own does not fit."""
        for group, entries in (("figures", self.figures), ("tables", self.tables)):
            for name, entry in entries.items():
                where = f"config: {group}.{name}"
                for experiment in (entry.experiments or ()) if group == "tables" else (entry.experiment,):
                    self._demand_experiment(experiment, where)
                if group == "figures":
                    self._demand_figure(entry, where)
                elif entry.baseline:
                    self._demand_arm(entry.experiments[0], entry.baseline, where)
                    self._demand_timed(entry.experiments[0], where)
        for name, claim in self.claims.each if self.claims else ():
            if claim.quantity.table not in self.tables:
                raise UserError(f"config: claims.rows.{name}: there is no table '{claim.quantity.table}' under tables")
            for row in (claim.quantity.of, {**claim.quantity.of, **(claim.quantity.over or {})}):
                self._demand_arm(row.get("experiment"), row.get("arm"), f"config: claims.rows.{name}")

    def _demand_figure(self, figure: FigureSettings, where: str) -> None:
        settings = self.experiments.get(figure.experiment)
        if settings is None:
            return
        arms = figure.arms if figure.arms is not None else tuple(settings.arms)
        for arm in arms:
            self._demand_arm(figure.experiment, arm, where)
        section = figure.drawing.section
        if section and not getattr(settings, section):
            raise UserError(f"{where}: a figure of {figure.draw} needs experiments.{figure.experiment}.{section}")
        if figure.draw == "ladders":
            self._demand_timed(figure.experiment, where)
        for arm in arms:
            training = settings.training_of(arm)
            for epoch in figure.epochs:
                last = sum(
                    level.epochs or -(-level.steps // (training.steps_per_epoch or 1)) for level in training.ladder
                )
                every = training.snapshot_every
                if not every or epoch > last or (epoch % every and epoch != last):
                    raise UserError(
                        f"{where}: epochs: {arm} has no snapshot after epoch {epoch}; see training.snapshot_every"
                    )

    def _demand_timed(self, experiment: str, where: str) -> None:
        """Ladders are compared by their losses on test fields on one finest grid."""
        settings = self.experiments.get(experiment)
        if settings is None:
            return
        if settings.validation is None or not settings.validation.test:
            raise UserError(
                f"{where}: ladders are compared by test losses; give experiments.{experiment}.validation.test"
            )
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


def load_config(
    files: Sequence[Path], overrides: Mapping[str, Any], presets: Path, only: Collection[str] | None = None
) -> Config:
    """Read configuration files in order, then the preset they name, then `overrides`.

    An experiment whose own settings are wrong does not stop the others: `Config.broken` says what is wrong with it.

    Args:
        presets: folder with one YAML overlay a preset.
        only: the experiments that are asked for, which must be sound; all others, figures, tables and claims are then left out.

    Raises:
        UserError: names the file or key and the mend.
    """
    settings: dict[str, Any] = {}
    for file in files:
        settings = merge(settings, _read_yaml(file))
    preset = str(merge(settings, overrides).get("preset"))
    known = sorted(path.stem for path in presets.glob("*.yaml"))
    if preset not in known:
        raise UserError(f"preset: '{preset}' is not one of {', '.join(known)} (the files in {presets})")
    settings = merge(merge(settings, _read_yaml(presets / f"{preset}.yaml")), overrides)
    load_plugins(parse(tuple[str, ...], settings.get("plugins") or (), "config", "plugins"))
    settings = _without_removed(settings)
    entries = parse(dict[Name, dict[str, Any]], settings.get("experiments"), "config", "experiments")
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
    for name, entry in list(sound.items()):
        if fault := _fault_of_data(name, entry, sound, broken):
            broken[name] = f"config: experiments.{name}: {fault}"
            del sound[name]
    if only is not None and broken:
        raise UserError(next(iter(broken.values())))
    config = parse(Config, settings | {"experiments": sound}, source="config")
    config._broken.update(broken)
    if only is None:
        config.check()
    return config


def arm_spec(config: Config, experiment: str, arm: str) -> ArmSpec:
    """The slice of the configuration that training one arm reads.

    Raises:
        UserError: if there is no such arm.
    """
    settings = config.experiments.get(experiment)
    if settings is None or arm not in settings.arms:
        arms = ", ".join(f"{name}/{arm}" for name, member in config.experiments.items() for arm in member.arms)
        raise UserError(f"--arm: there is no arm '{experiment}/{arm}'; the arms are {arms}")
    chosen = settings.arms[arm]
    return ArmSpec(
        kind=config.data_of(experiment).kind,
        experiment=experiment,
        arm=arm,
        native_resolution=settings.native_resolution,
        prior_seed=settings.prior_seed,
        data_set=config.data_set(experiment),
        grid=settings.grid,
        network=chosen.network,
        gain=chosen.gain or Gain.VALUES,
        paired=settings.paired,
        prior=chosen.prior,
        training=settings.training_of(arm),
        validation=settings.validation,
    )


def _fault_of_data(
    name: str, settings: ExperimentSettings, sound: Mapping[str, ExperimentSettings], broken: Mapping[str, str]
) -> str | None:
    """What is wrong between an experiment and the data it uses."""
    if settings.mixture:
        return None
    source = sound.get(settings.data_set or name)
    if source is None:
        return f"data_set: '{settings.data_set}' is {'broken' if settings.data_set in broken else 'not an experiment'}"
    if source.mixture or source.data is None:
        return f"data_set: '{settings.data_set}' is not an experiment with a file of data"
    if (settings.grid, settings.native_resolution) != (source.grid, source.native_resolution):
        return f"grid and native_resolution must be those of {settings.data_set}"
    try:
        settings.demand_test_fields(source.data)
    except ValueError as error:
        return str(error)
    return None


def _without_removed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without what is null under experiments, arms, figures, tables and claims, and without what is about it."""
    gone: set[str | None] = set()
    gone_arms: set[tuple[str, str]] = set()

    def kept(mapping: Any) -> Any:
        return (
            {key: value for key, value in mapping.items() if value is not None}
            if isinstance(mapping, Mapping)
            else mapping
        )

    settings = {**settings}
    given = settings.get("experiments")
    if isinstance(given, Mapping):
        gone = {name for name, entry in given.items() if entry is None}
        experiments = {}
        for name, entry in kept(given).items():
            if isinstance(entry, Mapping) and isinstance(entry.get("arms"), Mapping):
                gone_arms |= {(name, arm) for arm, value in entry["arms"].items() if value is None}
                entry = {**entry, "arms": kept(entry["arms"])}
            experiments[name] = entry
        settings["experiments"] = experiments

    def without_arms(experiment: Any, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An entry with a list of arms, without those that are gone."""
        if not isinstance(entry.get("arms"), list):
            return {**entry}
        return {**entry, "arms": [arm for arm in entry["arms"] if (experiment, arm) not in gone_arms]}

    if isinstance(settings.get("figures"), Mapping):
        figures = {}
        for name, entry in kept(settings["figures"]).items():
            if isinstance(entry, Mapping):
                if entry.get("experiment") in gone:
                    continue
                before, entry = entry.get("arms"), without_arms(entry.get("experiment"), entry)
                if before and not entry["arms"]:
                    continue
            figures[name] = entry
        settings["figures"] = figures
    gone_tables: set[str] = set()
    if isinstance(settings.get("tables"), Mapping):
        tables: dict[str, Any] = {}
        for name, entry in kept(settings["tables"]).items():
            if isinstance(entry, Mapping) and isinstance(entry.get("experiments"), list):
                entry = {**entry, "experiments": [each for each in entry["experiments"] if each not in gone]}
                if not entry["experiments"] or (entry["experiments"][0], entry.get("baseline")) in gone_arms:
                    continue
            tables[name] = entry
        gone_tables = settings["tables"].keys() - tables.keys()
        settings["tables"] = tables
    claims = settings.get("claims")
    if isinstance(claims, Mapping) and isinstance(claims.get("rows"), Mapping):
        settings["claims"] = {
            **claims,
            "rows": _claims_left(kept(claims["rows"]), gone, gone_arms, gone_tables),
        }
    return settings


def _claims_left(
    rows: Mapping[str, Any], gone: Collection[Any], gone_arms: Collection[Any], gone_tables: Collection[Any]
) -> dict[str, Any]:
    """The claims that are not about something that was removed."""
    left = {}
    for name, claim in rows.items():
        quantity = claim.get("quantity") if isinstance(claim, Mapping) else None
        if isinstance(quantity, Mapping) and isinstance(quantity.get("of"), Mapping):
            of, over = quantity["of"], quantity.get("over") or {}
            about = [(of.get("experiment"), row.get("arm")) for row in (of, {**of, **over})]
            if (
                of.get("experiment") in gone
                or any(each in gone_arms for each in about)
                or quantity.get("table") in gone_tables
            ):
                continue
            each = claim.get("each") or {}
            if isinstance(each.get("arm"), list):
                arms = [arm for arm in each["arm"] if (of.get("experiment"), arm) not in gone_arms]
                if not arms:
                    continue
                claim = {**claim, "each": {**each, "arm": arms}}
        left[name] = claim
    return left


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if data is not None and not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of settings, got {type(data).__name__}")
    return data or {}
