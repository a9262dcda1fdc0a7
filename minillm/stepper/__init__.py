"""The stepper: a computation walked through forwards and backwards, one formula line at a time."""

from .kernel import KernelSteps
from .recording import Recording, Step, Value, trace

__all__ = ["KernelSteps", "Recording", "Step", "Value", "trace"]
