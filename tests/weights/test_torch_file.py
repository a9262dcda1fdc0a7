"""torch.save's files without unpickling: equal to torch.load, and hostile ones are refused unrun."""

import collections
import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.weights.torch_file import TorchFile

torch = pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pt"


def opened(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data)
    return TorchFile(path)


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def archive(program, members=None, **options):
    """A file of torch.save whose pickle is `program`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as z:
        z.writestr("w/data.pkl", program)
        for name, data in (members or {}).items():
            z.writestr(name, data)
    return buffer.getvalue()


DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_as_torch_reads_it(path, dtype):
    t = (3 * torch.randn(2, 3)).to(getattr(torch, dtype))
    file = opened(path, saved({"t": t}))
    wanted = t.float().numpy() if dtype == "bfloat16" else t.numpy()
    found = file.read("t", None)
    assert found.dtype == wanted.dtype
    assert (found == wanted).all()
    assert file.read("t").dtype == np.float32
    assert (file.tensors["t"].shape, file.tensors["t"].type) == ((2, 3), dtype)


def test_views_share_their_storage_and_stay_views(path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = {"base": base, "turned": base.permute(2, 0, 1), "part": base[:, 1:, ::2], "one": base[1, 2, 3],
             "none": base[:, :0], "empty": torch.zeros(0), "scalar": torch.tensor(2.5)}
    file = opened(path, saved(views))
    for name, t in views.items():
        assert file.read(name, None).shape == tuple(t.shape)
        assert (file.read(name, None) == t.numpy()).all()


def test_an_expanded_tensor_is_refused_as_what_it_is(path):
    """Refused, as a file of a few bytes would become a large array, but not called damaged."""
    buffer = io.BytesIO()
    torch.save({"a": torch.tensor([3.0]).expand(5, 5)}, buffer)
    with pytest.raises(UserError, match=r"tensor 'a' of shape '\(5, 5\)' repeats the numbers of its "
                                        r"storage of 4 bytes \(expand\): save its contiguous\(\)") as refused:
        opened(path, buffer.getvalue())
    assert "damaged" not in str(refused.value)
    buffer = io.BytesIO()
    torch.save({"a": torch.tensor([3.0]).expand(5, 5).contiguous()}, buffer)
    assert opened(path, buffer.getvalue()).read("a").tolist() == [[3.0] * 5] * 5


def test_state_dicts_and_checkpoints(path):
    model = torch.nn.TransformerEncoderLayer(4, 2, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2, 4)).sum().backward()
    optimizer.step()
    state = model.state_dict()  # an OrderedDict with _metadata
    file = opened(path, saved(state))
    assert list(file.tensors) == list(state)
    checkpoint = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25, "tag": "a",
                  "best": None, "done": False, "sizes": (1, 2, 3, 4), "seed": 2**70,
                  "shape": torch.Size([2, 3]), "device": torch.device("cpu"), "dtype": torch.bfloat16,
                  "p": torch.nn.Parameter(torch.ones(2))}
    file = opened(path, saved(checkpoint))
    for name, t in state.items():
        assert (file.read(f"model.{name}") == t.numpy()).all()
    m = optimizer.state_dict()["state"][0]["exp_avg"].numpy()
    assert (file.read("optimizer.state.0.exp_avg") == m).all()
    assert (file.read("p") == 1).all()
    assert repr(file).endswith(f"{len(file.tensors)} tensors)")


def test_many_tensors_take_wide_opcodes(path):
    state = {f"layer.{i}.weight": torch.full((2,), float(i)) for i in range(400)}
    file = opened(path, saved(state))
    assert [file.read(n)[0] for n in state] == list(range(400))


def refused(path, data, line):
    with pytest.raises(UserError) as caught:
        opened(path, data)
    text = str(caught.value)
    assert "\n" not in text
    assert line in text
    assert text.startswith(repr(str(path)))


class Runs:
    """Unpickling one calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("value", [
    Runs(os.system, "true"), Runs(eval, "1"), Runs(exec, "pass"), Runs(getattr, "a", "b"), Runs(open, "x"),
    Runs(__import__, "os"), Runs(io.BytesIO, b""), Runs(np.zeros, 3), Runs(collections.Counter, "ab"),
], ids=lambda value: value.call[0].__name__)
def test_a_pickle_that_calls_is_refused_unrun(path, value):
    # pickle.dumps and not torch.save, which would do the same
    refused(path, archive(pickle.dumps({"w": value}, 2)), "which a mapping of tensors has not")


def test_nothing_of_a_hostile_pickle_happens(path, tmp_path):
    there = tmp_path / "there"
    data = archive(pickle.dumps(collections.OrderedDict(w=Runs(os.mkdir, str(there))), 2))
    refused(path, data, "mkdir'")
    assert not there.exists()
    pickle.loads(zipfile.ZipFile(io.BytesIO(data)).read("w/data.pkl"))
    assert there.exists()  # the very same bytes do act when they are unpickled


def test_a_whole_module_is_refused(path):
    refused(path, saved(torch.nn.Linear(2, 2)), "save model.state_dict()")


START, END = b"\x80\x02", b"."
NAMES = b"ccollections\nOrderedDict\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensor(offset=b"K\0", shape=b"K\x04\x85", stride=b"K\x01\x85", storage=STORAGE):
    return START + b"}X\x01\0\0\0w" + REBUILD + b"(" + storage + offset + shape + stride + b"\x89NtRs" + END


FOUR = {"w/data/0": np.arange(4, dtype="<f4").tobytes()}


def test_the_program_that_the_next_tests_bend(path):
    assert opened(path, archive(tensor(), FOUR)).read("w").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("program", "line"), [
    (tensor(offset=b"K\x01"), "does not lie in its storage of 16 bytes"),
    (tensor(shape=b"K\x05\x85"), "does not lie in its storage"),
    (tensor(stride=b"K\x02\x85"), "does not lie in its storage"),
    (tensor(shape=b"J\xff\xff\xff\x7f\x85", stride=b"K\0\x85"),
     "repeats the numbers of its storage of 16 bytes"),
    (tensor(shape=b"J\xff\xff\xff\xff\x85"), "no tensor of torch"),
    (tensor(shape=b"K\0\x8a\x08" + b"\xff" * 7 + b"\x0f\x86", stride=b"K\0K\0\x86"), "no tensor of torch"),
    (tensor(shape=b"K\0" + 2 * b"\x8a\x06\0\0\0\0\0\x01" + b"\x87", stride=b"K\0K\0K\0\x87"),
     "no tensor of torch"),
    (tensor(shape=b"(" + b"K\x01" * 65 + b"t", stride=b"(" + b"K\x01" * 65 + b"t"), "no tensor of torch"),
    (tensor(shape=b"K\x02K\x02\x86"), "no tensor of torch"),
    (tensor(offset=b"X\x01\0\0\x000"), "no tensor of torch"),
    (tensor(storage=b"N"), "no tensor of torch"),
    (tensor(storage=STORAGE.replace(b"K\x04", b"K\x05")), "does not lie in its storage"),
    (tensor(storage=STORAGE.replace(b"\0" b"0X", b"\0" b"1X")), "it has no member 'w/data/1'"),
    (tensor(storage=STORAGE.replace(b"FloatStorage", b"OddStorage")), "asks for 'torch.OddStorage'"),
    (tensor(storage=STORAGE.replace(b"FloatStorage", b"Size")), "has a storage of type 'torch.Size'"),
    (tensor()[:-1], "its pickle fails"),
    (tensor()[:60], "its pickle fails"),
    (START + END, "its pickle fails"),
    (START + b"t" + END, "its pickle fails"),
    (START + b"h\x05" + END, "its pickle fails"),
    (START + b"X\xff\xff\xff\x7fa" + END, "its pickle fails"),
    (START + b"X\x01\0\0\0\xff" + END, "its pickle fails"),
    (START + b"Ns" + END, "its pickle fails"),
    (START + b"cos" + END, "its pickle fails"),
    (START + b"N)R" + END, "calls what is no name"),
    (START + b"ctorch\nfloat32\n)R" + END, "calls 'torch.float32'"),
    (START + NAMES + b"N\x85R" + END, "calls 'collections.OrderedDict'"),
    (START + b"ctorch._utils\n_rebuild_parameter\nN\x85R" + END, "calls 'torch._utils._rebuild_parameter'"),
    (START + b"c__builtin__\neval\n" + END, "asks for '__builtin__.eval'"),
    (START + b"i__builtin__\neval\n" + END, "has the pickle opcode b'i'"),
    (START + b"\x93" + END, "has the pickle opcode b'\\x93'"),
    (START + b"}))s" + END, "has a mapping with a key of type tuple"),
    (START + b"]" + END, "holds no mapping of tensors"),
    (START + b"}(X\x01\0\0\0ah\0u" + END, "its pickle fails"),
    (START + b"}q\0X\x01\0\0\0ah\0s" + END, "is there twice"),  # it holds itself
    (pickle.dumps({}, 4), "does not use pickle protocol 2"),
    (b"", "does not use pickle protocol 2"),
])
def test_bent_pickles(path, program, line):
    refused(path, archive(program, FOUR), line)


def test_shared_mappings_do_not_multiply(path):
    value = {}
    for _ in range(60):
        value = {"a": value, "b": value}  # 2^60 names
    refused(path, archive(pickle.dumps(value, 2)), "is there twice, or its name has no end")
    deep = {}
    for _ in range(200):
        deep = {"a": deep}
    refused(path, archive(pickle.dumps(deep, 2)), "its name has no end")
    refused(path, archive(pickle.dumps({"x" * 1000: {"a": {}}}, 2)), "its name has no end")
    one = tensor()[len(START + b"}X\x01\0\0\0w") : -len(b"s" + END)]
    both = START + b"}(K\x01" + one + b"X\x01\0\0\x001" + one + b"u" + END  # under 1 and "1"
    refused(path, archive(both, FOUR), "the name '1' is there twice")


def test_other_archives(path):
    good = tensor()
    refused(path, archive(good, {"v/data.pkl": good}), "2 data.pkl")
    refused(path, archive(good, FOUR, compression=zipfile.ZIP_DEFLATED), "is packed or damaged")
    refused(path, archive(good, FOUR | {"w/byteorder": b"big"}), "big-endian")
    refused(path, archive(good, FOUR)[:-10], "damaged or cut short")
    refused(path, pickle.dumps({}, 2), "no zip archive")
    refused(path, b"PK\x03\x04", "damaged or cut short")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(good, FOUR | {"w/data.pkl": good})
    refused(path, twice, "two members of one name")
    with pytest.raises(UserError, match="there is no file"):
        TorchFile(path.with_name("none.pt"))
    file = opened(path, archive(good, FOUR))
    with pytest.raises(UserError, match=r"has no tensor 'W' among its 1: close are 'w'|see \.tensors"):
        file.read("W")
    with pytest.raises(TypeError, match="dtype is int64"):
        file.read("w", np.int64)


def test_a_lying_directory(path):
    """Sizes and offsets of the zip directory that point outside the file."""
    data = bytearray(archive(tensor(), FOUR))
    at = data.rindex(b"PK\x01\x02")  # the directory's entry of w/data/0
    for field, value in ((24, 2**31), (42, 2**31), (42, 3)):
        lying = bytearray(data)
        struct.pack_into("<I", lying, at + field, value)
        refused(path, bytes(lying), "'")


def test_a_member_that_begins_at_the_end(path):
    """Its header is a comment at the end of the archive, so its bytes would lie behind the file."""
    data = bytearray(archive(tensor(), FOUR)[:-2] + struct.pack("<H", 30) + b"PK\x03\x04" + bytes(26))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 42, len(data) - 30)
    refused(path, bytes(data), f"'data/0' ends at byte {len(data) + 16}, the file has {len(data)}")


@pytest.mark.parametrize(("seed", "files"), [*((seed, 250) for seed in range(4)),
                                             pytest.param(4, 10_000, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_refused(path, seed, files):
    """Nothing but UserError comes out, and no more memory goes in than the files are long."""
    draw = random.Random(seed)
    whole = saved({"a": torch.randn(3, 2), "b": {"c": torch.arange(5), "d": torch.randn(4).half()[1:]}})
    program = zipfile.ZipFile(io.BytesIO(whole)).read("archive/data.pkl")
    start = whole.index(program)
    read = lines = 0
    for _ in range(files):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            low, high = draw.choice([(0, len(data)), (start, start + len(program))])
            data[draw.randrange(low, high)] = draw.choice([0, 1, 0x7F, 0xFF, draw.randrange(256), ord("R")])
        if draw.random() < 0.1:
            del data[draw.randrange(len(data)) :]
        tracemalloc.start()
        try:
            file = opened(path, bytes(data))
            for name in file.tensors:
                assert file.read(name, None).size <= len(data)
            read += 1
        except UserError as error:
            lines = str(error).count("\n")
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert (lines, peak < 1 << 20) == (0, True)
    assert read > 10  # a byte of a weight changes nothing else
