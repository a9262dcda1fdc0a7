"""Text out of models."""

from .sampling import generate, next_token_distribution

__all__ = ["generate", "next_token_distribution"]
