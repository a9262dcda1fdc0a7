"""The smallest writers of GGUF and safetensors, which also write what is wrong when told to."""

import json
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B",
         U64: "<Q", I64: "<q", F64: "<d"}

# ggml's numbers, weights a block, bytes a block; written down here once more, not imported
GGML = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "F64": (28, 1, 8),
    "I8": (24, 1, 1), "I16": (25, 1, 2), "I32": (26, 1, 4), "I64": (27, 1, 8),
    "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
}


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    """A metadata value; that of an array is (type of its elements, list)."""
    if kind == STRING:
        return string(content)
    if kind == ARRAY:
        inner, items = content
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, item) for item in items)
    return struct.pack(CODES[kind], content)


def entry(key, kind, content):
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def tensor_entry(name, kind, dims, offset):
    """`dims` in the file's order, the contiguous axis first."""
    head = string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
    return head + struct.pack("<IQ", kind, offset)


def gguf(metadata=(), tensors=(), version=3, alignment=32, counts=None):
    """`metadata`: (key, type, content). `tensors`: (name, name of type, NumPy shape, bytes)."""
    n_tensors, n_metadata = counts or (len(tensors), len(metadata))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_metadata)
    head += b"".join(entry(*item) for item in metadata)
    data = b""
    for name, kind, shape, content in tensors:
        head += tensor_entry(name, GGML[kind][0], shape[::-1], len(data))
        data += content + bytes(-len(content) % alignment)
    return head + bytes(-len(head) % alignment) + data if tensors else head


def raw_gguf(*, metadata=b"", tensors=b"", n_metadata=0, n_tensors=0):
    """A header of ready-made bytes, with the counts that it claims."""
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_metadata) + metadata + tensors


def safetensors(tensors=(), metadata=None, header=None, length=None):
    """`tensors`: (name, dtype, shape, bytes). `header`: the JSON to write instead of the right one."""
    entries = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, dtype, shape, content in tensors:
        offsets = [len(data), len(data) + len(content)]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        data += content
    if header is None:
        header = json.dumps(entries)
    head = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data
