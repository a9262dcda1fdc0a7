"""Weight files of other programs, checked and read as NumPy arrays: GGUF, safetensors, Keras, PyTorch.

None trusts its file: whatever the header claims, opening takes memory in proportion to the file's
own length, nothing in it is run, and what is wrong is a UserError of one line.
"""

from minillm.weights.gguf import GGUF
from minillm.weights.keras_file import KerasFile
from minillm.weights.mapped_file import TensorInfo
from minillm.weights.quantized import FORMATS, Format, dequantize
from minillm.weights.safetensors_file import Safetensors
from minillm.weights.torch_file import TorchFile

__all__ = ["GGUF", "KerasFile", "Safetensors", "TensorInfo", "TorchFile", "FORMATS", "Format", "dequantize"]
