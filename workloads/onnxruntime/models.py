"""Models of published shapes with random weights, and small ones of the same kinds for tests, built with the `onnx` package.
Nodes are named as exporters name them, weights lie in a file beside the model."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
# Smaller constants, shapes above all, stay in the model.
EXTERNAL_BYTES = 1024


class Graph:
    """Nodes and random weights of a model under construction."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, name, *shape, scale=None):
        scale = scale or np.prod(shape[1:] or shape) ** -0.5
        return self.constant(name, self.random.standard_normal(shape) * scale, np.float32)

    def constant(self, name, values, kind):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name

    def add(self, kind, path, *inputs, **attributes):
        name = f"{path}/{kind}"
        result = f"{name}_output"
        self.nodes.append(helper.make_node(kind, list(inputs), [result], name=name, **attributes))
        return result

    def save(self, path, shape, output, result):
        ends = (("input", shape), (output, result))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ends]
        graph = helper.make_graph(self.nodes, path.stem, values[:1], values[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        weights = path.with_suffix(".weights")
        weights.unlink(missing_ok=True)
        onnx.save_model(
            model, path, save_as_external_data=True, location=weights.name, size_threshold=EXTERNAL_BYTES
        )


def encoder(path, seed, tokens, width, layers, heads):
    """BERT's encoder on embeddings: attention and a GELU feed-forward layer, each with its residual and normalized after."""
    g = Graph(seed)

    def linear(x, at, before, after):
        weight = g.weight(f"{at[1:].replace('/', '.')}.weight", before, after, scale=before**-0.5)
        product = g.add("MatMul", at, x, weight)
        return g.add("Add", at, product, g.weight(f"{at[1:].replace('/', '.')}.bias", after, scale=0.02))

    def norm(x, at):
        name = at[1:].replace("/", ".")
        ones = g.constant(f"{name}.weight", np.ones(width), np.float32)
        return g.add("LayerNormalization", at, x, ones, g.weight(f"{name}.bias", width, scale=0.02), axis=-1)

    split = g.constant("heads", [1, tokens, heads, width // heads], np.int64)
    joined = g.constant("joined", [1, tokens, width], np.int64)
    scale = g.constant("scale", (width // heads) ** -0.5, np.float32)
    root, half, one = (g.constant(n, v, np.float32) for n, v in (("root", 0.5**0.5), ("half", 0.5), ("one", 1)))
    x = "input"
    for layer in range(layers):
        at = f"/layers.{layer}"
        parts = []
        for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            within = f"{at}/attention/{part}"
            part = g.add("Reshape", within, linear(x, within, width, width), split)
            parts.append(g.add("Transpose", within, part, perm=order))
        within = f"{at}/attention"
        scores = g.add("Mul", within, g.add("MatMul", f"{within}/scores", parts[0], parts[1]), scale)
        mixed = g.add("MatMul", f"{within}/mix", g.add("Softmax", within, scores, axis=-1), parts[2])
        mixed = g.add("Reshape", within, g.add("Transpose", within, mixed, perm=[0, 2, 1, 3]), joined)
        mixed = linear(mixed, f"{within}/output", width, width)
        x = norm(g.add("Add", within, x, mixed), f"{at}/norm_1")
        inner = linear(x, f"{at}/intermediate", width, 4 * width)
        within = f"{at}/gelu"
        gate = g.add("Add", within, g.add("Erf", within, g.add("Mul", f"{within}/in", inner, root)), one)
        inner = g.add("Mul", f"{within}/out", g.add("Mul", within, inner, gate), half)
        x = norm(g.add("Add", at, x, linear(inner, f"{at}/output", 4 * width, width)), f"{at}/norm_2")
    g.save(path, [1, tokens, width], x, [1, tokens, width])
    return (1, tokens, width)


def resnet(path, seed, size, widths, depths, classes):
    """ResNet-50's bottlenecks, batch normalization folded into the convolutions as exporters do."""
    g = Graph(seed)

    def convolution(x, at, before, after, kernel, stride=1):
        name = at[1:].replace("/", ".")
        weight = g.weight(f"{name}.weight", after, before, kernel, kernel)
        bias = g.weight(f"{name}.bias", after, scale=0.02)
        pads = [kernel // 2] * 4
        return g.add("Conv", at, x, weight, bias, kernel_shape=[kernel] * 2, pads=pads, strides=[stride] * 2)

    x = g.add("Relu", "/stem", convolution("input", "/stem", 3, widths[0], 7, 2))
    x = g.add("MaxPool", "/stem", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    before, block = widths[0], 0
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for index in range(depth):
            at, stride = f"/layers.{block}", 2 if stage and not index else 1
            y = g.add("Relu", f"{at}/conv_1", convolution(x, f"{at}/conv_1", before, width, 1))
            y = g.add("Relu", f"{at}/conv_2", convolution(y, f"{at}/conv_2", width, width, 3, stride))
            y = convolution(y, f"{at}/conv_3", width, 4 * width, 1)
            if not index:
                x = convolution(x, f"{at}/shortcut", before, 4 * width, 1, stride)
            x = g.add("Relu", at, g.add("Add", at, y, x))
            before, block = 4 * width, block + 1
    x = g.add("Flatten", "/head", g.add("GlobalAveragePool", "/head", x))
    weight = g.weight("head.weight", before, classes, scale=before**-0.5)
    x = g.add("Gemm", "/head", x, weight, g.weight("head.bias", classes, scale=0.02))
    g.save(path, [1, 3, size, size], x, [1, classes])
    return (1, 3, size, size)


# Model and size: what it is built with.
SIZES = {
    ("encoder", "smoke"): dict(tokens=32, width=128, layers=2, heads=4),
    ("encoder", "bert-base"): dict(tokens=128, width=768, layers=12, heads=12),
    ("resnet", "smoke"): dict(size=64, widths=(16, 32), depths=(1, 1), classes=10),
    ("resnet", "resnet-50"): dict(size=224, widths=(64, 128, 256, 512), depths=(3, 4, 6, 3), classes=1000),
}


def make(model, size, path, seed=1):
    """Writes a model; the shape of its input."""
    return {"encoder": encoder, "resnet": resnet}[model](path, seed, **SIZES[model, size])
