"""Runs a model with random weights in ONNX Runtime; prints numbers of each result."""

import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnxruntime

import models

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", choices=["encoder", "resnet"])
parser.add_argument("--size", default="smoke", help="smoke, or the published shape: bert-base, resnet-50")
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--optimized", help="write the graph that is really run to this file")
parser.add_argument("--profile", help="write ONNX Runtime's own profile to this file; when it began, on stderr")
arguments = parser.parse_args()

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = arguments.threads
if arguments.optimized:
    options.optimized_model_filepath = arguments.optimized
options.enable_profiling = bool(arguments.profile)
with tempfile.TemporaryDirectory() as folder:
    options.profile_file_prefix = str(pathlib.Path(folder) / "profile")
    path = pathlib.Path(folder) / f"{arguments.model}.onnx"
    shape = models.make(arguments.model, arguments.size, path)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(2)
    for _ in range(arguments.runs):
        (result,) = session.run(None, {"input": random.standard_normal(shape).astype(np.float32)})
        print(result.shape, f"{float(np.abs(result).sum()):.5e}", f"{float(result.flat[7]):.5e}", flush=True)
    if arguments.profile:
        print("profile:", session.get_profiling_start_time_ns(), file=sys.stderr)
        os.replace(session.end_profiling(), arguments.profile)
