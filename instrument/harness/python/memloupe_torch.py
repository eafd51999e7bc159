"""What PyTorch's Python layer knows and its functions' arguments do not show: modules (layers), phases, parameters, gradients,
optimizer state, and what is kept for backward. The operators themselves are probed by memloupe (presets/torch.toml).

Nothing is computed differently: modules, `backward` and optimizers are called as they would be, between two markers; hooks on
parameters and saved tensors hand back what they got. What they cost is in the profile, as part of the module that they are called in.

Not observed: modules that `torch.compile` has made one function of (memloupe_torch_compile.py has its kernels), threads other than the one that imported torch (saved tensors),
sparse gradients.
"""

import functools
import threading
import weakref

import memloupe

_names = weakref.WeakKeyDictionary()  # module: its path in the model
_addresses = {}  # id of a parameter: (name, address as last told)
_fixed = set()  # addresses of parameters, buffers and inputs, which views of them share
_saved = set()  # addresses of what this forward pass has kept for backward so far
_thread = threading.local()
_phases = []  # that go on, outermost first
_counts = {}  # by phase: how many have begun
_backward_layer = None  # the layer that the running backward is in


def observe(torch):
    """`torch` has just been imported."""
    if not memloupe.is_listening():
        return
    _observe_modules(torch)
    _observe_backward(torch)
    _observe_optimizers(torch)
    torch.autograd.graph.saved_tensors_hooks(_pack, _unpack).__enter__()


def begin_phase(name):
    number = _counts.get(name, 0)
    _counts[name] = number + 1
    _phases.append(name)
    memloupe.phase_begin(name, number)


def end_phase():
    _phases.pop()
    memloupe.phase_end()


def _end_forward():
    """A forward pass that is trained on goes on, with the loss, until something else begins."""
    if _phases and _phases[-1] == "forward":
        end_phase()


def _span_bytes(tensor):
    if tensor.numel() == 0:
        return 0
    last = sum((extent - 1) * stride for extent, stride in zip(tensor.shape, tensor.stride()))
    return (last + 1) * tensor.element_size()


def _name(kind, name, tensor):
    if tensor.device.type == "cpu" and not tensor.is_sparse:
        memloupe.object(kind, name, tensor.data_ptr(), _span_bytes(tensor))


def _tensors(value, torch):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part, torch)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part, torch)


def _name_parameters(root):
    """Tells of parameters and their gradients where they are new or have moved."""
    for name, parameter in [*root.named_parameters(), *root.named_buffers()]:
        address = parameter.data_ptr()
        known = _addresses.get(id(parameter))
        if known is None and parameter.requires_grad and parameter.is_leaf:
            parameter.register_hook(functools.partial(_name_gradient, name))
        if known is None or known[1] != address:
            _addresses[id(parameter)] = (name, address)
            _fixed.add(address)
            _name("weight", name, parameter)
        if parameter.grad is not None:
            _name("gradient", name, parameter.grad)


def _name_gradient(name, gradient):
    _name("gradient", name, gradient)


def _observe_modules(torch):
    call = torch.nn.Module.__call__
    is_compiling = getattr(getattr(torch, "compiler", None), "is_compiling", lambda: False)

    @functools.wraps(call)
    def observed(module, *arguments, **options):
        if is_compiling() or torch.jit.is_tracing():
            return call(module, *arguments, **options)
        layers = _thread.__dict__.setdefault("layers", [])
        kind = type(module).__name__
        is_root = not layers
        if is_root:
            for path, part in module.named_modules():
                _names.setdefault(part, path or kind)
            if "backward" not in _phases:
                _end_forward()
                begin_phase("forward")
            memloupe.operator_begin("host.hooks", "parameters")
            _name_parameters(module)
            for index, tensor in enumerate(_tensors((arguments, options), torch)):
                _fixed.add(tensor.data_ptr())
                _name("input", f"input {index}", tensor)
            memloupe.operator_end()
        layer = _names.get(module, kind)
        layers.append(layer)
        memloupe.operator_begin("module." + kind, layer, layer)
        try:
            result = call(module, *arguments, **options)
            for tensor in _tensors(result, torch):
                address = tensor.data_ptr()
                # A module's result is often that of its last part, or its argument.
                if address not in _saved and address not in _fixed and address != _thread.__dict__.get("last"):
                    _thread.last = address
                    _name("activation", "output: " + layer, tensor)
            return result
        finally:
            memloupe.operator_end()
            layers.pop()
            if is_root:
                _thread.last = None
                if not torch.is_grad_enabled():
                    _end_forward()

    torch.nn.Module.__call__ = observed


def _observe_backward(torch):
    def observe(function):
        @functools.wraps(function)
        def observed(*arguments, **options):
            global _backward_layer
            if "compile" in _phases:
                return function(*arguments, **options)  # traced, not computed
            _end_forward()
            _saved.clear()
            begin_phase("backward")
            try:
                return function(*arguments, **options)
            finally:
                if _backward_layer is not None:
                    _backward_layer = None
                    memloupe.operator_end()
                end_phase()

        return observed

    torch.autograd.backward = observe(torch.autograd.backward)
    torch.autograd.grad = observe(torch.autograd.grad)


def _pack(tensor):
    """A tensor is kept for backward."""
    layers = _thread.__dict__.get("layers")
    layer = layers[-1] if layers else "loss"
    if "compile" in _phases:
        return tensor, layer  # a stand-in without memory
    address = tensor.data_ptr()
    if address not in _fixed:
        _saved.add(address)
        _name("activation", "saved: " + layer, tensor)
    return tensor, layer


def _unpack(packed):
    """Backward needs a tensor that was kept: it has come to the layer that kept it."""
    global _backward_layer
    tensor, layer = packed
    if "backward" in _phases and layer != _backward_layer:
        if _backward_layer is not None:
            memloupe.operator_end()
        _backward_layer = layer
        memloupe.operator_begin("host.backward", layer, layer)
    return tensor


def _observe_optimizers(torch):
    create = torch.optim.Optimizer.__init__

    def observe(step):
        @functools.wraps(step)
        def observed(optimizer, *arguments, **options):
            _end_forward()
            begin_phase("optimizer")
            memloupe.operator_begin("optimizer." + type(optimizer).__name__)
            try:
                result = step(optimizer, *arguments, **options)
                memloupe.operator_begin("host.hooks", "optimizer state")
                for parameter, values in optimizer.state.items():
                    name = _addresses.get(id(parameter), ("unnamed", 0))[0]
                    for key, value in values.items():
                        if isinstance(value, torch.Tensor):
                            _name("optimizer-state", f"{key}: {name}", value)
                memloupe.operator_end()
                return result
            finally:
                memloupe.operator_end()
                end_phase()

        observed.is_observed = True
        return observed

    @functools.wraps(create)
    def observed_create(optimizer, *arguments, **options):
        create(optimizer, *arguments, **options)
        kind = type(optimizer)
        if not hasattr(kind.step, "is_observed"):
            kind.step = observe(kind.step)

    torch.optim.Optimizer.__init__ = observed_create
