"""Applications: each from data to a trained model and its use."""

from .language_modelling import LanguageModelling, load_model, resume

__all__ = ["LanguageModelling", "load_model", "resume"]
