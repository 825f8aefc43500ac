"""The settings of a run, as data: config.yaml, a preset on top, then what the command line overrides.

Every model is frozen, refuses keys it does not know and describes each of its keys. No module here imports PyTorch.
"""
# ruff: noqa: F403, F405, RUF022

from .base import *
from .catalogue import *
from .claims import *
from .data import *
from .experiments import *
from .load import *
from .networks import *
from .plugins import *
from .priors import *
from .samplers import *
from .training import *

__all__ = [
    "AlongTrainingSettings", "AncestralSettings", "arm_spec", "ArmSettings", "ArmSpec", "BesselSettings", "ClaimSettings",
    "ClaimsSettings", "CombinedSettings", "Config", "ConvergenceSettings", "Count", "DataBase", "DataSettings",
    "distinct", "distinct_gains", "DPMSolverSettings", "Drawing", "DRAWINGS", "EulerMaruyamaSettings",
    "ExperimentSettings", "FieldsDataSettings", "FigureSettings", "FIRST_TEST_SEED", "FNOPriorSettings", "FNOSettings",
    "GaussianExponentialSettings", "GaussianSettings", "LawSettings", "Start",
    "Gain", "Geometry", "HeunSettings", "Kinds", "kinds_of", "Ladder", "LaplacianSettings", "Level", "load_config",
    "load_plugins", "LogDensitySettings", "merge", "MetricsSettings", "MixtureDataSettings", "MnistDataSettings", "Name",
    "NetworkBase", "NetworkSettings", "parse", "parse_sampler", "Positive", "PredictorCorrectorSettings", "PriorBase",
    "PriorSettings", "QuantitySettings", "ReactionDiffusionDataSettings", "Resolution", "Resolutions",
    "SampledDataSettings", "SamplerBase", "SamplerSettings", "SamplingSettings", "ScoreErrorSettings", "Seed", "SetSize",
    "Settings", "StandardSettings", "TABLES", "TableSettings", "TargetSpec", "TimeGrid", "TrainingSettings",
    "TruncationSettings", "UNetSettings", "ValidationSettings",
]  # fmt: skip
