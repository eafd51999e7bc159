"""Python runs this before anything else because `memloupe run` has put its folder first on PYTHONPATH. It waits for frameworks to
be imported, and leaves no trace where memloupe does not listen."""

import importlib.machinery
import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
# Framework and the module here that observes it.
_OBSERVERS = {
    "torch": "memloupe_torch",
    "torch._dynamo.callback": "memloupe_torch_compile",
    "torch._inductor.codecache": "memloupe_torch_compile",
    "onnxruntime": "memloupe_onnxruntime",
    "openvino": "memloupe_openvino",
}


class _Loader:
    """A framework's own loader, and its observer afterwards."""

    def __init__(self, loader, observer):
        self._loader, self._observer = loader, observer

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        observer = __import__(self._observer)
        observer.observe(module)


class _Finder:
    """Finds frameworks where they are, and has their loaders followed by their observers."""

    def find_spec(self, name, path=None, target=None):
        observer = _OBSERVERS.pop(name, None)
        if observer is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, observer)
        return spec


def _give_back():
    """The path and the environment as they would be without memloupe; this folder goes last, for `import memloupe`."""
    sys.path = [entry for entry in sys.path if entry != _FOLDER] + [_FOLDER]
    rest = os.environ.get("PYTHONPATH", "").split(os.pathsep)[1:]
    if rest:
        os.environ["PYTHONPATH"] = os.pathsep.join(rest)
    else:
        os.environ.pop("PYTHONPATH", None)


def _run_the_next():
    """The `sitecustomize` that this one stands in front of."""
    own = sys.modules.pop("sitecustomize", None)
    try:
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [e for e in sys.path if e != _FOLDER])
        if spec is not None and spec.loader is not None:
            import sitecustomize  # noqa: F401
    finally:
        if own is not None:
            sys.modules.setdefault("sitecustomize", own)


_give_back()
sys.meta_path.insert(0, _Finder())
_run_the_next()
