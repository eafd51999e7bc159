"""What ONNX Runtime's Python layer knows: which part of the program's life is a session's making or a run of it, and where its inputs
and outputs lie. Nodes are probed by memloupe (presets/onnxruntime.toml). Nothing is computed differently.

Not observed: runs that write into the caller's memory (`run_with_iobinding`), values that are no dense arrays.
"""

import functools

import memloupe

_runs = 0


def observe(onnxruntime):
    """`onnxruntime` has just been imported."""
    if not memloupe.is_listening():
        return
    session = onnxruntime.InferenceSession
    session.run = _observe_run(session.run)
    session.__init__ = _observe_making(session.__init__)


def _observe_making(make):
    """A session's weights are allocated as it is made (`allocates` in presets/onnxruntime.toml)."""

    @functools.wraps(make)
    def observed(session, *arguments, **options):
        memloupe.operator_begin("host.session")
        try:
            return make(session, *arguments, **options)
        finally:
            memloupe.operator_end()

    return observed


def _name(kind, name, value):
    address, bytes = getattr(value, "ctypes", None), getattr(value, "nbytes", 0)
    if address is not None and value.flags.c_contiguous:
        memloupe.object(kind, name, address.data, bytes)


def _observe_run(run):
    @functools.wraps(run)
    def observed(session, output_names, input_feed, *arguments, **options):
        global _runs
        memloupe.phase_begin("run", _runs)
        _runs += 1
        memloupe.operator_begin("host.run")
        try:
            for name, value in input_feed.items():
                _name("input", name, value)
            results = run(session, output_names, input_feed, *arguments, **options)
            names = output_names or [output.name for output in session.get_outputs()]
            for name, value in zip(names, results):
                _name("activation", name, value)
            return results
        finally:
            memloupe.operator_end()
            memloupe.phase_end()

    return observed
