#!/usr/bin/env python3
"""Small exports of public networks with random weights, and what onnxruntime makes of random inputs: the fixtures of the
import's tests (models/tests/onnx). Networks of their own names (deep supervision, several opsets, both exporters of torch).

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 monai==1.6.1 dynamic-network-architectures==0.4.4 \
        onnx==1.23.2 onnxscript onnxruntime==1.32.0
    venv/bin/python scripts/onnx_fixtures.py models/tests/onnx          # all
    venv/bin/python scripts/onnx_fixtures.py models/tests/onnx NAME..   # some
    venv/bin/python scripts/onnx_fixtures.py --spleen FOLDER            # MONAI's spleen network at its real size
    venv/bin/python scripts/onnx_fixtures.py --trained FOLDER           # a U-Net trained on smooth shapes, and a volume

Each is NAME.onnx, perhaps with NAME.onnx.data beside it, NAME.in.npy and NAME.out.npy."""

import argparse
import pathlib
import struct
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

warnings.filterwarnings("ignore")


def shaken(net: nn.Module) -> nn.Module:
    """Normalisations and slopes as after a training, so that folding them wrongly shows."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if getattr(module, "affine", False):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
        if isinstance(module, nn.PReLU):
            module.weight.data = torch.empty(module.num_parameters).uniform_(0.05, 0.4)
    return net.eval()


def monai_unet(norm, dims=3, res=2, channels=(4, 8, 8), strides=(2, 2), classes=3):
    from monai.networks.nets import UNet

    return UNet(dims, 1, classes, channels, strides, num_res_units=res, norm=norm)


def basic_unet(norm, upsample="deconv"):
    from monai.networks.nets import BasicUNet

    return BasicUNet(3, 1, 2, (4, 4, 4, 6, 6, 4), norm=norm, upsample=upsample)


def nnunet(kind, norm, deep=False):
    from dynamic_network_architectures.architectures import unet

    common = dict(
        input_channels=1, n_stages=3, features_per_stage=(4, 6, 8), conv_op=nn.Conv3d,
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3)), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)), num_classes=3,
        n_conv_per_stage_decoder=1, conv_bias=True, norm_op=norm, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=deep,
    )
    if kind == "plain":
        return unet.PlainConvUNet(n_conv_per_stage=2, **common)
    return unet.ResidualEncoderUNet(n_blocks_per_stage=(1, 2, 1), **common)


def segresnet(norm=None):
    from monai.networks.nets import SegResNet

    more = {} if norm is None else {"norm": norm}
    return SegResNet(3, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,), **more)


class Odd(nn.Module):
    """What the folding and the refusals have to see: constants computed from shapes, layers that nothing reads, a softmax
    at the end, a normalisation behind a sum, a nearest resize, a mean over windows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.down = nn.Conv3d(4, 4, 2, stride=2)
        self.mid = nn.Conv3d(4, 4, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv3d(8, 3, 1)

    def forward(self, x):
        a = torch.relu(self.first(x))
        b = self.norm(a + nn.functional.dropout(a, 0.1, self.training) * 0.5)
        c = self.down(b)
        d = torch.relu(self.mid(c)) + nn.functional.avg_pool3d(b, 2)
        d = d.reshape(d.shape[0], -1, *d.shape[2:]) / 2 - 0.25
        return torch.softmax(self.head(torch.cat([self.up(d), b], 1)), 1)


class Bad(nn.Module):
    """Three things that have no secure form."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv3d(1, 4, 3, padding=2, dilation=2)
        self.b = nn.Conv3d(4, 4, 3, padding=1, groups=2)
        self.c = nn.Conv3d(4, 2, 1)

    def forward(self, x):
        return self.c(nn.functional.gelu(self.b(nn.functional.gelu(self.a(x)))))


# name: network, input's D, H, W, exporter ("dynamo" or "script"), opset, weights in a file of their own
FIXTURES = {
    "monai_unet": (lambda: monai_unet("batch"), (8, 12, 8), "dynamo", 20, True),
    "monai_unet_script11": (lambda: monai_unet("batch"), (8, 12, 8), "script", 11, False),
    "monai_unet_script17": (lambda: monai_unet("batch", res=0), (8, 8, 8), "script", 17, False),
    "monai_unet_23": (lambda: monai_unet("batch", res=1), (8, 8, 8), "dynamo", 23, False),
    "monai_unet_planar": (lambda: monai_unet("batch", dims=2), (16, 12), "dynamo", 18, False),
    "monai_unet_instance": (lambda: monai_unet("instance"), (8, 12, 8), "dynamo", 20, False),
    "monai_unet_instance_script": (lambda: monai_unet("instance"), (8, 12, 8), "script", 14, False),
    "basic_unet": (lambda: basic_unet("batch"), (16, 16, 16), "dynamo", 18, False),
    "basic_unet_script": (lambda: basic_unet("batch"), (16, 16, 16), "script", 13, False),
    "basic_unet_linear": (lambda: basic_unet("batch", "nontrainable"), (16, 16, 16), "dynamo", 20, False),
    "nnunet_plain": (lambda: nnunet("plain", nn.InstanceNorm3d), (4, 8, 8), "dynamo", 20, False),
    "nnunet_plain_batch": (lambda: nnunet("plain", nn.BatchNorm3d, True), (4, 8, 8), "script", 17, False),
    "nnunet_resenc": (lambda: nnunet("res", nn.InstanceNorm3d), (4, 8, 8), "script", 17, False),
    "nnunet_resenc_batch": (lambda: nnunet("res", nn.BatchNorm3d), (4, 8, 8), "dynamo", 20, False),
    "segresnet": (segresnet, (8, 8, 8), "dynamo", 20, False),
    "segresnet_script": (segresnet, (8, 8, 8), "script", 17, False),
    "segresnet_batch": (lambda: segresnet("batch"), (4, 6, 8), "dynamo", 20, False),
    "odd": (Odd, (4, 6, 8), "dynamo", 18, False),
    "odd_script": (Odd, (4, 6, 8), "script", 12, False),
    "bad": (Bad, (6, 6, 6), "dynamo", 20, False),
}


def export(net, x, path, exporter, opset, external):
    with torch.no_grad():
        torch.onnx.export(net, (x,), str(path), dynamo=exporter == "dynamo", opset_version=opset,
                          external_data=external, verbose=False)
    # Where the exporting program lies on its machine is nobody's business.
    model = onnx.load(path, load_external_data=False)
    for thing in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                  *model.graph.output, *model.graph.initializer]:
        del thing.metadata_props[:]
        thing.doc_string = ""
    path.write_bytes(model.SerializeToString())


def make(folder: pathlib.Path, name: str):
    build, dims, exporter, opset, external = FIXTURES[name]
    torch.manual_seed(sum(name.encode()))
    net = shaken(build())
    x = torch.randn(1, 1, *dims)
    path = folder / f"{name}.onnx"
    export(net, x, path, exporter, opset, external)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    out = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.save(folder / f"{name}.in.npy", x.numpy())
    np.save(folder / f"{name}.out.npy", out.astype(np.float32))
    print(name, path.stat().st_size, out.shape, out.std())


def spleen(folder: pathlib.Path):
    torch.manual_seed(0)
    net = shaken(monai_unet("batch", channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), classes=2))
    export(net, torch.randn(1, 1, 96, 96, 96), folder / "spleen.onnx", "dynamo", 20, True)


def shapes(seed: int, n: int = 40):
    """A smooth random field with noise, and its level sets as labels."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 6, 6, 6, generator=source)
    field = nn.functional.interpolate(coarse, size=(n, n, n), mode="trilinear")
    field = (field - field.mean()) / field.std()
    labels = (field > -0.7).long() + (field > 0).long() + (field > 0.9).long()
    return field + 0.05 * torch.randn(field.shape, generator=source), labels[:, 0]


def nifti(path: pathlib.Path, volume: np.ndarray):
    """A volume [D, H, W] of single precision, its last axis the first of the file's."""
    d, h, w = volume.shape
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, w, h, d, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<2f", header, 108, 352, 1)
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(float(row == column) for column in range(4)))
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + volume.astype("<f4").tobytes())


def trained(folder: pathlib.Path):
    from monai.networks.nets import UNet

    torch.manual_seed(77)
    net = UNet(3, 1, 4, (6, 12, 24), (2, 2), num_res_units=1, norm="batch", act="LEAKYRELU")
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(60):
        x, labels = shapes(step)
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, labels = shapes(1000)
    with torch.no_grad():
        out = net.eval()(x)
    print("right:", (out.argmax(1) == labels).float().mean().item())
    export(net, x, folder / "trained.onnx", "dynamo", 20, True)
    np.save(folder / "trained.in.npy", x.numpy())
    np.save(folder / "trained.out.npy", out.numpy())
    nifti(folder / "trained.nii", x[0, 0].numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--spleen", action="store_true")
    parser.add_argument("--trained", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if args.spleen:
        spleen(args.folder)
    elif args.trained:
        trained(args.folder)
    else:
        for name in args.names or FIXTURES:
            make(args.folder, name)
