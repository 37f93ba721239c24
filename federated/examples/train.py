"""A network of PyTorch as one member of a federation trains it.

    python train.py --init init.safetensors                          # once, for `federate serve --model`
    blindvox federate join ... --train 'python train.py {base} {out} --data rows.csv'
    python train.py --score trained.safetensors --data held_out.csv

Rows are CSV with a line of names; the last column is the class. Any network does: what matters is that the state is read
from {base}, written to {out} with the same names and shapes, and that the number of examples is in its metadata. BatchNorm's
statistics may stay each member's own: `serve --exclude '.*running_(mean|var)'`.
"""

import argparse
import csv

import torch
from safetensors.torch import load_file, save_file


def network():
    torch.manual_seed(1)
    layers = [torch.nn.Linear(30, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2)]
    return torch.nn.Sequential(*layers)


def rows(path):
    with open(path, newline="") as file:
        lines = [[float(cell) for cell in line] for line in list(csv.reader(file))[1:]]
    data = torch.tensor(lines)
    x, y = data[:, :-1], data[:, -1].long()
    # In real use by statistics that the members agree on; here each by its own rows.
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-9), y


def train(net, x, y, epochs):
    net.train()
    step = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(16):
            if len(batch) > 1:
                step.zero_grad()
                torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                step.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--init")
    parser.add_argument("--score")
    args = parser.parse_args()
    net = network()
    if args.init:
        save_file(net.state_dict(), args.init)
        return
    x, y = rows(args.data)
    net.load_state_dict(load_file(args.score or args.base))
    if args.score:
        net.eval()
        print(f"{(net(x).argmax(1) == y).float().mean():.4f} of {len(y)} rows are classed rightly")
        return
    train(net, x, y, args.epochs)
    save_file(net.state_dict(), args.out, metadata={"examples": str(len(y))})


main()
