"""The face of the article's listing: as much of Keras 3 as section 5.1 uses, on minillm's engine.

    import minillm as tf
    model = tf.keras.Sequential([tf.keras.layers.Embedding(...), ...])

Names, defaults, shapes, order of weights and numerics are Keras's; what is not here says so in a line.
"""

from . import activations, callbacks, layers, losses, models, optimizers, regularizers, saving, utils
from ._names import only
from .layers import Input
from .model import Sequential

__all__ = ["Input", "Sequential", "activations", "callbacks", "layers", "losses", "models",
           "optimizers", "regularizers", "saving", "utils"]
__getattr__ = only(__name__, __all__)
