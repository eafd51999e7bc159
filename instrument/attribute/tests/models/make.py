"""Writes the model files beside it and EXPECTED.json: of each tensor its name, its shape and its first bytes in hex.

Needs torch (made with 1.13), onnx and safetensors. The bytes of a tensor are those that the library itself holds, so
the test compares what our readers find in a file with what its writer put there.
"""

import json
import pathlib

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
EXPECTED = {}


def expect(file, name, array):
    data = numpy.ascontiguousarray(array).tobytes()
    EXPECTED.setdefault(file, []).append([name, list(array.shape), data[:16].hex(), len(data)])


def random(*shape):
    return torch.randn(*shape)


class Tied(torch.nn.Module):
    """Embedding and head share their storage; a view shares the first row."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.inner = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x):
        return self.head(self.inner(self.embed(x)))


def torch_files():
    torch.manual_seed(1)
    model = Tied()
    state = model.state_dict()
    torch.save(state, HERE / "state.pt")
    torch.save(model, HERE / "module.pt")
    torch.jit.script(model).save(str(HERE / "script.pt"))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, HERE / "checkpoint.pt")
    for name, tensor in state.items():
        if name != "head.weight":  # shares its bytes with embed.weight, which comes first
            for file in ("state.pt", "module.pt", "script.pt"):
                expect(file, name, torch.load(HERE / "state.pt")[name].numpy())
    for name, tensor in model.state_dict().items():
        if name != "head.weight":
            expect("checkpoint.pt", f"model.{name}", tensor.numpy())
    for index, moments in optimizer.state_dict()["state"].items():
        for key in ("exp_avg", "exp_avg_sq"):
            expect("checkpoint.pt", f"optimizer.state.{index}.{key}", moments[key].numpy())
        if torch.is_tensor(moments["step"]):
            expect("checkpoint.pt", f"optimizer.state.{index}.step", moments["step"].numpy())


def safetensors_file():
    tensors = {
        "model.layers.0.q": random(3, 4).numpy(),
        "model.layers.0.k": random(7).numpy().astype(numpy.float16),
        "model.layers.10.v": numpy.arange(6, dtype=numpy.int64).reshape(2, 3),
    }
    save_file(tensors, HERE / "layers.safetensors", metadata={"format": "np"})
    for name, array in tensors.items():
        expect("layers.safetensors", name, array)


def onnx_files():
    weights = {"w1": random(4, 6).numpy(), "b1": random(6).numpy(), "w2": random(6, 2).numpy()}
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    initializers.append(helper.make_tensor("typed", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))  # float_data: no bytes
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="fc1"),
            helper.make_node("MatMul", ["h", "w2"], ["y"], name="fc2"),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        initializers,
    )
    model = helper.make_model(graph)
    onnx.save(model, HERE / "inline.onnx")
    onnx.save(model, HERE / "beside.onnx", save_as_external_data=True, location="beside.data", size_threshold=0)
    for name, array in weights.items():
        expect("inline.onnx", name, array)
        expect("beside.data", name, array)


torch_files()
safetensors_file()
onnx_files()
(HERE / "EXPECTED.json").write_text(json.dumps(EXPECTED, sort_keys=True) + "\n")
