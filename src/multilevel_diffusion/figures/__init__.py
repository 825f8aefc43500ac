"""Pictures from files. One style, colour limits shared within a figure, always the first samples.

Each function takes tables or arrays and returns a matplotlib figure; `save` writes it.
"""

from .curves import cost, log_density, samplers
from .fields import arrange, distances, fields
from .posterior import posterior, posterior_rows
from .style import arm_names, method_name, sampler_name, save
from .training import along_training, ladders, losses, score_error, skill

__all__ = [
    "along_training",
    "arm_names",
    "arrange",
    "cost",
    "distances",
    "fields",
    "ladders",
    "log_density",
    "losses",
    "method_name",
    "posterior",
    "posterior_rows",
    "sampler_name",
    "samplers",
    "save",
    "score_error",
    "skill",
]
