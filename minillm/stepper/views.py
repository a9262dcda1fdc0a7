"""The terminal's view of a recording, whatever was recorded."""

from __future__ import annotations

from .kernel import KernelSteps
from .kernel_view import KernelView
from .recording import Recording
from .recording_view import RecordingView
from .terminal import View


def view_of(recording: Recording | KernelSteps, lang: str = "en", *, title: str | None = None) -> View:
    """What `terminal.walk` and `terminal.print_all` show.

    Args:
        recording: of `trace`, or of kernels.
        lang: "en" or "zh".
        title: in place of the equation's title or the kernels' names.
    """
    if isinstance(recording, KernelSteps):
        return KernelView(recording, lang, title=title)
    return RecordingView(recording, lang, title=title)
