"""The stepper: a computation walked through forwards and backwards, one formula line at a time."""

from .recording import Recording, Step, Value, trace

__all__ = ["Recording", "Step", "Value", "trace"]
