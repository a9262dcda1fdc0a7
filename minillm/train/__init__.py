"""The training loop, checkpoints and run folders."""

from .checkpoint import load_checkpoint, save_checkpoint, write_atomically
from .picture import draw_loss
from .progress import TerminalReporter
from .run_folder import RunFolder
from .trainer import Reporter, Trainer, TrainerSettings

__all__ = ["Reporter", "RunFolder", "TerminalReporter", "Trainer", "TrainerSettings", "draw_loss",
           "load_checkpoint", "save_checkpoint", "write_atomically"]
