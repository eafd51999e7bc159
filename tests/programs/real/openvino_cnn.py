"""A convolution and a classifier with random weights in OpenVINO, compiled for the CPU with two threads."""
import numpy as np
import openvino
from openvino import opset13 as op

random = np.random.default_rng(1)


def weight(*shape):
    return op.constant((random.standard_normal(shape) * 0.1).astype(np.float32))


x = op.parameter([1, 3, 32, 32], np.float32)
features = op.relu(op.convolution(x, weight(16, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]))
flat = op.reshape(features, [1, -1], False)
scores = op.softmax(op.matmul(flat, weight(16 * 32 * 32, 10), False, False), 1)
model = openvino.Core().compile_model(openvino.Model([scores], [x]), "CPU", {"INFERENCE_NUM_THREADS": 2})
for _ in range(3):
    result = model(random.standard_normal((1, 3, 32, 32)).astype(np.float32))[0]
    print(int(result.argmax()), f"{float(result.max()):.6f}")
