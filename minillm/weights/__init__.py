"""Weight files of other programs, GGUF and safetensors: mapped, checked, and read as NumPy arrays.

Neither trusts its file: whatever the header claims, opening takes memory in proportion to the
file's own length, and what is wrong is a UserError of one line.
"""

from minillm.weights.gguf import GGUF
from minillm.weights.mapped_file import TensorInfo
from minillm.weights.quantized import FORMATS, Format, dequantize
from minillm.weights.safetensors_file import Safetensors

__all__ = ["GGUF", "Safetensors", "TensorInfo", "FORMATS", "Format", "dequantize"]
