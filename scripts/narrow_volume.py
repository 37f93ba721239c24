"""A narrow 3D U-Net (4, 8 and 16 channels, one convolution a block, random weights) and scans for it, as files.

    python3 scripts/narrow_volume.py DIR SIDE...

writes DIR/m, a bundle that takes scans of any size in one pass, DIR/c.nii of 48^3 voxels to calibrate it on, and DIR/vSIDE.nii. Nothing but
Python's own library is needed. With them bench/results/whole-volume.md was measured.
"""

import array
import json
import math
import os
import random
import struct
import sys

random.seed(7)
nodes = [{"name": "in", "op": {"input": {"channels": 1, "dims": [32, 32, 32]}}}]
tensors, data = {}, bytearray()


def tensor(name, shape, size):
    values = array.array("f", [1.7 * size * (2 * random.random() - 1) for _ in range(math.prod(shape))])
    tensors[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * len(values)]}
    data.extend(values.tobytes())
    return name


def node(name, op, *inputs):
    nodes.append({"name": name, "op": op, "inputs": list(inputs)})


def conv(name, source, ci, co, kernel=3):
    weight = tensor(name + ".w", [co, ci] + [kernel] * 3, (ci * kernel**3) ** -0.5)
    bias = tensor(name + ".b", [co], 0.2)
    node(name, {"conv": {"out_channels": co, "kernel": [kernel] * 3, "weight": weight, "bias": bias}}, source)


def block(name, source, ci, co):
    conv(name + ".conv", source, ci, co)
    node(name, "relu", name + ".conv")


def up(name, source, ci, co):
    weight = tensor(name + ".w", [ci, co, 2, 2, 2], ci**-0.5)
    node(name, {"conv_transpose": {"out_channels": co, "weight": weight}}, source)


def network():
    block("enc.0", "in", 1, 4)
    node("pool.0", "avg_pool", "enc.0")
    block("enc.1", "pool.0", 4, 8)
    node("pool.1", "avg_pool", "enc.1")
    block("mid", "pool.1", 8, 16)
    up("up.1", "mid", 16, 8)
    node("cat.1", "concat", "enc.1", "up.1")
    block("dec.1", "cat.1", 16, 8)
    up("up.0", "dec.1", 8, 4)
    node("cat.0", "concat", "enc.0", "up.0")
    block("dec.0", "cat.0", 8, 4)
    conv("head", "dec.0", 4, 3, 1)
    node("out", "argmax", "head")


def bundle(folder):
    os.makedirs(folder, exist_ok=True)
    model = {
        "name": "narrow",
        "classes": ["background", "a", "b"],
        "preparation": {"orientation": "RAS", "normalise": "z_score", "divisor": [4, 4, 4]},
        "graph": {"version": 2, "nodes": nodes},
        "quantization": {"weight_bits": 12, "relu_bits": 16, "argmax_bits": 24, "spare_bits": 2},
    }
    with open(os.path.join(folder, "model.json"), "w") as out:
        json.dump(model, out)
    header = json.dumps(tensors).encode()
    with open(os.path.join(folder, "weights.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header + data)


def scan(path, side):
    """Smooth waves and noise, 16-bit integers at 1 mm."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, side, side, side, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
    struct.pack_into("<ff", header, 108, 352, 1)
    header[123] = 2
    struct.pack_into("<hh", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    wave = [math.sin(i / 9) for i in range(side)]
    with open(path, "wb") as out:
        out.write(header)
        for k in range(side):
            for j in range(side):
                row = [int(300 * (wave[i] * wave[j] + wave[k]) + random.getrandbits(8)) for i in range(side)]
                out.write(array.array("h", row).tobytes())


network()
bundle(os.path.join(sys.argv[1], "m"))
for name, side in [("c", 48)] + [("v" + side, int(side)) for side in sys.argv[2:]]:
    scan(os.path.join(sys.argv[1], name + ".nii"), side)
