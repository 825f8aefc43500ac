"""Multilevel diffusion: score-based diffusion models on functions (Hagemann et al., arXiv 2303.04772)."""

__version__ = "0.1.0"
