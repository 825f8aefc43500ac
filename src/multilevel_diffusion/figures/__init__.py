"""Pictures from files. One style, colour limits shared within a figure, always the first samples.

Each function takes tables or arrays and returns a matplotlib figure; `save` writes it.
"""

from .curves import cost, log_density, samplers
from .fields import arrange, fields
from .posterior import posterior, posterior_rows
from .style import sampler_name, save, short_name
from .training import along_training, ladders, losses, score_error, skill

__all__ = [
    "along_training",
    "arrange",
    "cost",
    "fields",
    "ladders",
    "log_density",
    "losses",
    "posterior",
    "posterior_rows",
    "sampler_name",
    "samplers",
    "save",
    "score_error",
    "short_name",
    "skill",
]
