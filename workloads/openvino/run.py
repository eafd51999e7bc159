"""Runs a model with random weights in OpenVINO on the CPU; prints numbers of each result."""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import openvino

# The graphs are those of ONNX Runtime's workload.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "onnxruntime"))
import models  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", choices=["encoder", "resnet"])
parser.add_argument("--size", default="smoke", help="smoke, or the published shape: bert-base, resnet-50")
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--graph", help="write the graph that is really run to this file")
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f"{arguments.model}.onnx"
    shape = models.make(arguments.model, arguments.size, path)
    # In 32 bits everywhere, and every kernel made for this processor.
    settings = {
        "INFERENCE_NUM_THREADS": arguments.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": bool(arguments.graph),
    }
    model = openvino.Core().compile_model(path, "CPU", settings)
    request = model.create_infer_request()
    random = np.random.default_rng(2)
    for _ in range(arguments.runs):
        result = request.infer({"input": random.standard_normal(shape).astype(np.float32)})[0]
        print(result.shape, f"{float(np.abs(result).sum()):.5e}", f"{float(result.flat[7]):.5e}", flush=True)
    if arguments.graph:
        with open(arguments.graph, "w") as file:
            for node in request.profiling_info:
                print(node.node_type, node.exec_type, node.node_name, file=file)
