"""Judges for kernels: the properties that the shipped kernels are held to, for anybody's own kernel."""

from .adam import check_adam
from .cross_entropy import check_softmax_cross_entropy
from .report import Report

__all__ = ["Report", "check_adam", "check_softmax_cross_entropy"]
