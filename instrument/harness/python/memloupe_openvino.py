"""What OpenVINO's Python layer knows: which part of the program's life is a run of a model, and where its inputs and outputs lie.
Nodes and primitives are ITT tasks (libmemloupe_collector.so). Nothing is computed differently.

Not observed: asynchronous requests (`start_async`), as their work has no beginning and end on the calling thread.
"""

import functools

import memloupe

_runs = 0


def observe(openvino):
    """`openvino` has just been imported."""
    if not memloupe.is_listening():
        return
    request = openvino.InferRequest
    request.infer = _observe_infer(request.infer)


def _name(kind, tensors, ports):
    for tensor, port in zip(tensors, ports):
        if tensor.get_byte_size():
            name = port.get_any_name() if port.get_names() else port.get_node().get_friendly_name()
            memloupe.object(kind, name, tensor.data.ctypes.data, tensor.get_byte_size())


def _observe_infer(infer):
    @functools.wraps(infer)
    def observed(request, *arguments, **options):
        global _runs
        memloupe.phase_begin("run", _runs)
        _runs += 1
        memloupe.operator_begin("host.run")
        try:
            result = infer(request, *arguments, **options)
            _name("input", request.input_tensors, request.model_inputs)
            _name("activation", request.output_tensors, request.model_outputs)
            return result
        finally:
            memloupe.operator_end()
            memloupe.phase_end()

    return observed
