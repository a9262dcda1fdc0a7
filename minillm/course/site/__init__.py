"""The site: all lessons executed and built to static pages, in both languages, with their notebooks."""

from .build import build_site

__all__ = ["build_site"]
