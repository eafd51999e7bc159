"""Runs a transformer block and a small convolutional network with random weights in onnxruntime.

usage: onnx_models.py transformer|cnn THREADS
The models are built here with the `onnx` package, at opset 17, and never touch the disk.
"""
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(1)


class Graph:
    """Nodes and random weights of a model under construction."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, *shape, scale=None):
        scale = scale or np.prod(shape[1:] or shape) ** -0.5
        return self.constant(random.standard_normal(shape) * scale, np.float32)

    def constant(self, values, kind):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{name}", **attributes))
        return name

    def model(self, shape, output, result):
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", shape), (output, result))]
        graph = helper.make_graph(self.nodes, "g", values[:1], values[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def transformer(tokens=48, width=128, heads=4):
    """One pre-norm block: attention and a GELU feed-forward layer, each with its residual."""
    g = Graph()

    def norm(x):
        return g.add("LayerNormalization", x, g.weight(width), g.weight(width), axis=-1)

    def project(x, rows, columns):
        return g.add("Add", g.add("MatMul", x, g.weight(rows, columns, scale=rows**-0.5)), g.weight(columns))

    def split(x):
        shape = g.constant([1, tokens, heads, width // heads], np.int64)
        return g.add("Transpose", g.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    normed = norm("x")
    query, key, value = (split(project(normed, width, width)) for _ in range(3))
    scores = g.add("MatMul", query, g.add("Transpose", key, perm=[0, 1, 3, 2]))
    scores = g.add("Mul", scores, g.constant((width // heads) ** -0.5, np.float32))
    mixed = g.add("Transpose", g.add("MatMul", g.add("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    mixed = g.add("Reshape", mixed, g.constant([1, tokens, width], np.int64))
    x = g.add("Add", "x", project(mixed, width, width))
    inner = project(norm(x), width, 4 * width)
    gate = g.add("Add", g.add("Erf", g.add("Mul", inner, g.constant(0.5**0.5, np.float32))), g.constant(1, np.float32))
    inner = g.add("Mul", g.add("Mul", inner, gate), g.constant(0.5, np.float32))
    x = g.add("Add", x, project(inner, 4 * width, width))
    return g.model([1, tokens, width], x, [1, tokens, width]), (1, tokens, width)


def cnn(size=48, channels=(3, 16, 32)):
    """Two convolutions, a depthwise one, pooling, a classifier."""
    g = Graph()
    x = "x"
    for before, after in zip(channels, channels[1:]):
        x = g.add("Conv", x, g.weight(after, before, 3, 3), g.weight(after), pads=[1, 1, 1, 1])
        x = g.add("MaxPool", g.add("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = g.add("Relu", g.add("Conv", x, g.weight(after, 1, 3, 3), pads=[1, 1, 1, 1], group=after))
    x = g.add("Flatten", g.add("GlobalAveragePool", x))
    x = g.add("Softmax", g.add("Gemm", x, g.weight(after, 10), g.weight(10)))
    return g.model([1, channels[0], size, size], x, [1, 10]), (1, channels[0], size, size)


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
model, shape = {"transformer": transformer, "cnn": cnn}[sys.argv[1]]()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
for _ in range(3):
    (result,) = session.run(None, {"x": random.standard_normal(shape).astype(np.float32)})
    print(result.shape, f"{float(np.abs(result).sum()):.6e}", f"{float(result.flat[7]):.6e}")
