"""Trains a model or runs it, with random weights and data; prints a number for each step."""

import argparse
import os

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("task", choices=["train", "infer"])
parser.add_argument("model", choices=["cnn", "gpt"])
parser.add_argument("--size", default="smoke", help="smoke, or the published shape: gpt2-small, resnet-18")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--optimizer", choices=["adamw", "sgd"], default="adamw")
parser.add_argument("--accumulate", type=int, default=1, help="batches for each step of the optimizer")
parser.add_argument("--compile", action="store_true", help="by torch.compile")
parser.add_argument("--profile", help="write PyTorch's own profile, a Chrome trace, to this file")
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

# OpenBLAS has threads of its own beside PyTorch's.
os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
import torch  # noqa: E402

import models  # noqa: E402

torch.set_num_threads(options.threads)
model, draw = models.make(options.model, options.size, seed=1)
compute = torch.compile(model) if options.compile else model


def train():
    if options.optimizer == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    for step in range(options.steps):
        # Kept where they are, gradients are added to.
        optimizer.zero_grad(set_to_none=False)
        for _ in range(options.accumulate):
            given, wanted = draw()
            result = compute(given)
            loss = torch.nn.functional.cross_entropy(result.flatten(0, -2), wanted) / options.accumulate
            loss.backward()
        optimizer.step()
        print(step, f"{loss.item():.5f}", flush=True)


def infer():
    model.eval()
    with torch.no_grad():
        for step in range(options.steps):
            print(step, f"{compute(draw()[0]).abs().mean().item():.5f}", flush=True)


task = {"train": train, "infer": infer}[options.task]
if options.profile:
    with torch.profiler.profile() as profiler:
        task()
    profiler.export_chrome_trace(options.profile)
else:
    task()
