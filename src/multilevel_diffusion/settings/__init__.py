"""The settings of a run, as data: config.yaml, a preset on top, then what the command line overrides.

Every model is frozen, refuses keys it does not know and describes each of its keys. No module here imports PyTorch.
"""
# ruff: noqa: F403

from .base import *
from .catalogue import *
from .claims import *
from .conditioning import *
from .data import *
from .experiments import *
from .load import *
from .networks import *
from .plugins import *
from .priors import *
from .samplers import *
from .text import *
from .training import *
