"""A recording as one HTML file that needs nothing else: no network, no library, no server."""

from .html import in_notebook, to_html

__all__ = ["in_notebook", "to_html"]
