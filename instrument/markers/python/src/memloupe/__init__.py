"""Tells memloupe what a Python program does: operators, phases, data objects, regions.

    import memloupe

    with memloupe.phase("forward"):
        with memloupe.operator("MATMUL", name="ffn_up", layer="blk.7", shape="1536x16"):
            ...
    memloupe.object("weight", "blk.7.ffn_up", tensor.data_ptr(), tensor.nbytes)

Outside of `memloupe run` a call costs a comparison. Operators belong to the thread that begins them, and to threads that it has
started if these never begin any themselves. They nest; the innermost one counts. Phases belong to the process. Of each text,
127 bytes count. The same in C and C++: memloupe/markers.h; in Rust: memloupe-markers.
"""

import contextlib
import ctypes

__all__ = [
    "is_listening",
    "object",
    "object_end",
    "operator",
    "operator_begin",
    "operator_end",
    "phase",
    "phase_begin",
    "phase_end",
    "region",
]

_TEXT, _POINTER = ctypes.c_char_p, ctypes.c_void_p
# Exported by what memloupe preloads; they do nothing: being called is what counts.
_SIGNATURES = {
    "operator_begin": (_TEXT, _TEXT, _TEXT, _TEXT, _TEXT),
    "operator_end": (),
    "phase_begin": (_TEXT, ctypes.c_int64),
    "phase_end": (),
    "object": (_TEXT, _TEXT, _POINTER, ctypes.c_uint64),
    "object_end": (_POINTER,),
    "region_begin": (_TEXT,),
    "region_end": (_TEXT,),
}


def _find():
    library = ctypes.PyDLL(None)
    found = {}
    for name, arguments in _SIGNATURES.items():
        try:
            function = getattr(library, "memloupe_marker_" + name)
        except AttributeError:
            return None
        function.argtypes, function.restype = arguments, None
        found[name] = function
    return found


_markers = _find()


def is_listening():
    """Whether the program runs under memloupe."""
    return _markers is not None


def operator_begin(kind, name="", layer="", shape="", element_type=""):
    """An operator begins on this thread; `operator_end` ends it."""
    if _markers:
        texts = (kind, name, layer, shape, element_type)
        _markers["operator_begin"](*(text.encode() for text in texts))


def operator_end():
    """The innermost operator of this thread ends."""
    if _markers:
        _markers["operator_end"]()


def phase_begin(name, number=-1):
    """A phase of the process begins; with a number if there are many of that name."""
    if _markers:
        _markers["phase_begin"](name.encode(), number)


def phase_end():
    """The innermost phase ends."""
    if _markers:
        _markers["phase_end"]()


def object(kind, name, address, nbytes):
    """Memory gets a name, until it is freed or named anew. kind: weight, kv-cache, activation, gradient, optimizer-state, input
    or workspace."""
    if _markers:
        _markers["object"](kind.encode(), name.encode(), address, nbytes)


def object_end(address):
    """The memory that begins at this address loses the name that `object` gave to it."""
    if _markers:
        _markers["object_end"](address)


@contextlib.contextmanager
def operator(kind, name="", layer="", shape="", element_type=""):
    """An operator on this thread."""
    operator_begin(kind, name, layer, shape, element_type)
    try:
        yield
    finally:
        operator_end()


@contextlib.contextmanager
def phase(name, number=-1):
    """A phase of the process."""
    phase_begin(name, number)
    try:
        yield
    finally:
        phase_end()


@contextlib.contextmanager
def region(name):
    """A region on this thread, for `memloupe run --region marker=NAME`."""
    if _markers:
        _markers["region_begin"](name.encode())
    try:
        yield
    finally:
        if _markers:
            _markers["region_end"](name.encode())
