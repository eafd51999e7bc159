import numpy as np, openvino as ov
from openvino import opset13 as op
r = np.random.default_rng(1)
x = op.parameter([1,3,32,32], np.float32)
w = op.constant((r.standard_normal((16,3,3,3))*.2).astype(np.float32))
c = op.relu(op.convolution(x, w, [1,1],[1,1],[1,1],[1,1]))
f = op.reshape(c, [1,-1], False)
m = op.softmax(op.matmul(f, op.constant((r.standard_normal((16*32*32,10))*.01).astype(np.float32)), False, False), 1)
model = ov.Model([m],[x])
core = ov.Core()
cm = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 2})
for _ in range(3):
    y = cm(r.standard_normal((1,3,32,32)).astype(np.float32))[0]
    print(float(y.max()), int(y.argmax()))
