"""The training loop, checkpoints and run folders."""

from .checkpoint import load_checkpoint, save_checkpoint
from .objective import Batch, Batches, EvaluationBatches, HeldOut, Loss, Objective, State
from .picture import draw_loss
from .progress import TerminalReporter
from .run_folder import RunFolder
from .settings import Reporter, TrainerSettings
from .trainer import Trainer

__all__ = ["Batch", "Batches", "EvaluationBatches", "HeldOut", "Loss", "Objective", "Reporter", "RunFolder",
           "State", "TerminalReporter", "Trainer", "TrainerSettings", "draw_loss", "load_checkpoint",
           "save_checkpoint"]
