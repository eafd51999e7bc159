"""What `torch.compile` does on the CPU: compiling is a phase of its own, and each kernel that Inductor has fused from operators is an
operator by the name that Inductor gives it. What it leaves to libraries (`aten::addmm_out`) is probed (presets/torch.toml).

Holds for PyTorch 2.1 and later; where one of the functions hooked here is gone, fused kernels count as part of the module.
"""

import functools

import memloupe
import memloupe_torch

_PREFIX = "cpp_fused_"


def observe(module):
    """A part of the compiler has just been imported."""
    if memloupe.is_listening():
        {"torch._dynamo.callback": _observe_compiling, "torch._inductor.codecache": _observe_kernels}[module.__name__](module)


def _observe_compiling(callback):
    handler = getattr(callback, "callback_handler", None)
    if handler is not None:
        handler.register_start_callback(lambda *_: memloupe_torch.begin_phase("compile"))
        handler.register_end_callback(lambda *_: memloupe_torch.end_phase())


def _observe_kernels(codecache):
    cache = getattr(codecache, "PyCodeCache", None)
    load = getattr(cache, "load_by_key_path", None)
    if load is None:
        return

    @functools.wraps(load)
    def observed(*arguments, **options):
        program = load(*arguments, **options)
        for name, kernel in vars(program).items():
            if name.startswith(_PREFIX) and not hasattr(kernel, "__wrapped__"):
                setattr(program, name, _observe_kernel(name.removeprefix(_PREFIX), kernel))
        return program

    cache.load_by_key_path = staticmethod(observed)


def _observe_kernel(name, kernel):
    @functools.wraps(kernel)
    def observed(*arguments):
        memloupe.operator_begin("inductor." + name)
        try:
            return kernel(*arguments)
        finally:
            memloupe.operator_end()

    return observed
