"""A student's code in a process of its own, with as many walls around it as this machine has."""

from .handle import Answer, Worker, calls_to
from .layers import Layer, chosen, describe, probe
from .view import SandboxError

__all__ = ["Answer", "Worker", "calls_to", "SandboxError", "Layer", "chosen", "describe", "probe"]
