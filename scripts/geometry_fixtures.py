#!/usr/bin/env python3
"""Small volumes in several orientations and spacings, and what nibabel and MONAI make of them: the fixtures of the
geometry's tests (models/tests/geometry).

    venv/bin/pip install torch==2.15.0 monai==1.6.1 nibabel numpy
    venv/bin/python scripts/geometry_fixtures.py models/tests/geometry

Each is NAME.nii.gz, and NAME.ras.nii.gz: its axes along R, A, S (nibabel's `as_closest_canonical`) on voxels of the
wanted sides (MONAI's Orientation and Spacing, `scale_extent`, the edges' voxels going on beyond them). Sizes are such
that the wanted voxels fill the volume's sides, where both grids have one centre; none is coarser than 1.5 to one, from
where on we smooth and MONAI's Spacing doesn't."""

import pathlib
import sys

import monai.transforms as mt
import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

# name: stored axes, sizes along them, sides along R, A, S, degrees about A, wanted sides
FIXTURES = {
    "turned": ("LPI", (10, 8, 6), (1.0, 1.0, 1.0), 0, (1.0, 1.0, 1.0)),
    "finer": ("PSR", (6, 4, 8), (1.5, 2.0, 1.0), 0, (1.0, 1.0, 0.8)),
    "coarser": ("IRA", (12, 10, 9), (0.8, 1.0, 0.75), 0, (1.0, 1.5, 1.0)),
    "oblique": ("SAL", (7, 9, 8), (1.0, 1.0, 2.0), 12, (1.0, 1.0, 1.0)),
}


def stored(name):
    axes, dims, sides, degrees, _ = FIXTURES[name]
    rng = np.random.default_rng(sum(name.encode()))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    ornt = axcodes2ornt(tuple(axes))
    world = [int(a) for a in ornt[:, 0]]
    upright = [0, 0, 0]
    for s, w in enumerate(world):
        upright[w] = dims[s]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(sides)
    affine[:3, 3] = (-20, 15, 7)
    image = nib.Nifti1Image(rng.normal(100, 30, upright).astype(np.float32), affine)
    transform = ornt_transform(axcodes2ornt(("R", "A", "S")), ornt)
    return nib.Nifti1Image(nib.apply_orientation(image.get_fdata(dtype=np.float32), transform),
                           affine @ inv_ornt_aff(transform, upright))


def wanted(image, sides):
    canonical = nib.as_closest_canonical(image)
    tensor = lambda i: monai_tensor(i.get_fdata(dtype=np.float32), i.affine)
    ours = tensor(canonical)
    theirs = mt.Orientation(axcodes="RAS")(tensor(image))
    assert np.array_equal(ours.numpy(), theirs.numpy()) and np.allclose(ours.affine, theirs.affine)
    spaced = mt.Spacing(pixdim=sides, mode="bilinear", padding_mode="border", scale_extent=True)(theirs)
    return nib.Nifti1Image(spaced[0].numpy().astype(np.float32), spaced.affine.numpy())


def monai_tensor(data, affine):
    from monai.data import MetaTensor

    return MetaTensor(torch.from_numpy(np.ascontiguousarray(data))[None], affine=torch.from_numpy(affine))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (*_, sides) in FIXTURES.items():
        image = stored(name)
        assert "".join(nib.aff2axcodes(image.affine)) == FIXTURES[name][0]
        out = wanted(image, sides)
        nib.save(image, folder / f"{name}.nii.gz")
        nib.save(out, folder / f"{name}.ras.nii.gz")
        print(name, image.shape, "->", out.shape, np.round(nib.affines.voxel_sizes(out.affine), 4))


main()
