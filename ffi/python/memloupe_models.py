"""memloupe's models from Python, over the C library: no build step, nothing but the standard library.

    import memloupe_models
    with memloupe_models.Memory("desktop", config="latency_ps = 10000") as memory:
        done = memory.run(times_ps, addresses)          # any sequences or numpy arrays of integers
        print(done["latency_ps"].mean(), memory.statistics()["totals"]["row_hits"])
    with memloupe_models.Reader("small.stream") as reader:  # from memloupe run --record
        for accesses in reader:                         # batches, in numpy as a structured array
            print(accesses["address"], reader.operator(accesses["operator_id"][0]))

Batches go through arrays: numpy's if numpy is there, else those of the module `array`. The library is found through
$MEMLOUPE_LIBRARY, beside this file, or by the loader as libmemloupe.so.
"""

import array
import ctypes
import json
import os

try:
    import numpy
except ImportError:
    numpy = None

ABI_VERSION = 2
READ, WRITE, PREFETCH, WRITEBACK = range(4)
LOAD, STORE, READ_MODIFY_WRITE, SOFTWARE_PREFETCH, NON_TEMPORAL_STORE, FETCH, NON_TEMPORAL_LOAD = range(7)
NEVER_PS = 2**64 - 1
NO_OPERATOR = 2**32 - 1
_BUFFER_TOO_SMALL = 4


class Error(Exception):
    """What the library said, with its status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Request(ctypes.Structure):
    """memloupe_request."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("size_bytes", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("core", ctypes.c_uint32),
        ("tag", ctypes.c_uint32),
    ]


class Completion(ctypes.Structure):
    """memloupe_completion."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("accepted_ps", ctypes.c_uint64),
        ("finished_ps", ctypes.c_uint64),
        ("kind", ctypes.c_uint32),
        ("tag", ctypes.c_uint32),
    ]


class Access(ctypes.Structure):
    """memloupe_access."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("size_bytes", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("core", ctypes.c_uint32),
        ("owner", ctypes.c_uint32),
    ]


class Answer(ctypes.Structure):
    """memloupe_answer."""

    _fields_ = [("level", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("latency_ns", ctypes.c_double)]


class RecordedAccess(ctypes.Structure):
    """memloupe_recorded_access."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("size_bytes", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("operator_id", ctypes.c_uint32),
        ("object_id", ctypes.c_uint32),
        ("phase_id", ctypes.c_uint32),
    ]


def _load():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libmemloupe.so")
    name = os.environ.get("MEMLOUPE_LIBRARY") or (beside if os.path.exists(beside) else "libmemloupe.so")
    library = ctypes.CDLL(name)
    library.memloupe_version.restype = ctypes.c_char_p
    library.memloupe_last_error.restype = ctypes.c_char_p
    library.memloupe_abi_version.restype = ctypes.c_uint32
    found = library.memloupe_abi_version()
    if found != ABI_VERSION:
        raise ImportError(f"{name} has ABI {found}; this module is for {ABI_VERSION}")
    return library


_library = _load()
VERSION = _library.memloupe_version().decode()


def _check(status):
    if status != 0:
        raise Error(status, _library.memloupe_last_error().decode())


def _bytes_of(function, handle, element, *which):
    needed = ctypes.c_size_t()
    status = function(handle, *which, None, ctypes.c_size_t(0), ctypes.byref(needed))
    if status not in (0, _BUFFER_TOO_SMALL):
        _check(status)
    buffer = (element * needed.value)()
    _check(function(handle, *which, buffer, needed, ctypes.byref(needed)))
    return bytes(buffer)


def _column(values, count, default):
    """`count` integers of a sequence, of one number, or of nothing."""
    if values is None:
        values = default
    if isinstance(values, int):
        return [values] * count
    column = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(column) != count:
        raise ValueError(f"a column of {len(column)} values beside one of {count}")
    return column


class _Handle:
    """A handle that is destroyed at the end of a `with`, or with its object."""

    _kind = None

    def _make(self, function, *arguments):
        self._handle = ctypes.c_void_p()
        _check(getattr(_library, f"memloupe_{self._kind}_{function}")(*arguments, ctypes.byref(self._handle)))

    def close(self):
        """Destroys it; it can't be used any more."""
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            getattr(_library, f"memloupe_{self._kind}_destroy")(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    def _json(self, function, *which):
        function = getattr(_library, f"memloupe_{self._kind}_{function}_json")
        return json.loads(_bytes_of(function, self._handle, ctypes.c_char, *which)[:-1])


class _Model(_Handle):
    """A model of a machine: a preset, a path, or the text of a machine file."""

    def __init__(self, machine, *config):
        self._make("create_from_toml" if "\n" in machine else "create", machine.encode(), *config)

    def statistics(self):
        """Everything that was counted."""
        return self._json("statistics")

    def statistic(self, name):
        """One number by name."""
        value = ctypes.c_double()
        function = getattr(_library, f"memloupe_{self._kind}_statistic")
        _check(function(self._handle, name.encode(), ctypes.byref(value)))
        return value.value


class Memory(_Model):
    """The memory of a machine in time. machine is a preset, a path, or the text of a machine file."""

    _kind = "memory"

    def __init__(self, machine, config=""):
        super().__init__(machine, config.encode())
        self.now_ps = 0

    def send(self, time_ps, address, size_bytes=64, kind=READ, id=0, pc=0, core=0, tag=0):
        """Offers a request; False if it was refused."""
        request = Request(id, address, pc, size_bytes, kind, core, tag)
        accepted = ctypes.c_bool()
        _check(
            _library.memloupe_memory_send(
                self._handle, ctypes.c_uint64(time_ps), ctypes.byref(request), ctypes.byref(accepted)
            )
        )
        self.now_ps = time_ps
        return accepted.value

    def next_event(self):
        """When to come back at the latest; None if nothing is under way."""
        time_ps = ctypes.c_uint64()
        _check(_library.memloupe_memory_next_event(self._handle, ctypes.byref(time_ps)))
        return None if time_ps.value == NEVER_PS else time_ps.value

    def advance(self, until_ps):
        """Lets time pass."""
        _check(_library.memloupe_memory_advance(self._handle, ctypes.c_uint64(until_ps)))
        self.now_ps = until_ps

    def drain(self):
        """Lets time pass until everything is done; returns when that was."""
        end_ps = ctypes.c_uint64()
        _check(_library.memloupe_memory_drain(self._handle, ctypes.byref(end_ps)))
        self.now_ps = end_ps.value
        return end_ps.value

    def completions(self):
        """What was done since the last call: (id, accepted_ps, finished_ps, kind, tag) each."""
        taken, room, count = [], (Completion * 1024)(), ctypes.c_size_t()
        while True:
            _check(
                _library.memloupe_memory_take_completions(
                    self._handle, room, ctypes.c_size_t(len(room)), ctypes.byref(count)
                )
            )
            done = room[: count.value]
            taken.extend((c.id, c.accepted_ps, c.finished_ps, c.kind, c.tag) for c in done)
            if count.value < len(room):
                return taken

    def run(self, times_ps, addresses, sizes_bytes=64, kinds=READ, cores=0, tags=0):
        """Sends a batch, each at its time or as soon after that as it is taken, and sees it through.

        Columns are sequences or arrays of equal length, or one number for all. Returns accepted_ps, finished_ps and
        latency_ps in the order of the requests."""
        count = len(addresses)
        columns = [times_ps, addresses, sizes_bytes, kinds, cores, tags]
        rows = zip(*(_column(column, count, 0) for column in columns))
        for id, (time_ps, address, size_bytes, kind, core, tag) in enumerate(rows):
            time_ps = max(time_ps, self.now_ps)
            self.advance(time_ps)
            while not self.send(time_ps, address, size_bytes, kind, id, 0, core, tag):
                time_ps = self.next_event()
                self.advance(time_ps)
        self.drain()
        accepted, finished = array.array("Q", bytes(8 * count)), array.array("Q", bytes(8 * count))
        for id, accepted_ps, finished_ps, _, _ in self.completions():
            accepted[id], finished[id] = accepted_ps, finished_ps
        latency = array.array("Q", (end - begin for begin, end in zip(accepted, finished)))
        result = {"accepted_ps": accepted, "finished_ps": finished, "latency_ps": latency}
        if numpy is None:
            return result
        return {name: numpy.frombuffer(column, dtype=numpy.uint64) for name, column in result.items()}

    def checkpoint(self):
        """Everything that changes, as bytes."""
        return _bytes_of(_library.memloupe_memory_checkpoint, self._handle, ctypes.c_uint8)

    def restore(self, state):
        """Goes on from where an equal memory was."""
        _check(_library.memloupe_memory_restore(self._handle, state, ctypes.c_size_t(len(state))))


class System(_Model):
    """The caches of a machine above its DRAM, access by access."""

    _kind = "system"

    def cores(self):
        """How many cores the machine has."""
        count = ctypes.c_uint32()
        _check(_library.memloupe_system_core_count(self._handle, ctypes.byref(count)))
        return count.value

    def reserve_owners(self, count):
        """Gives the owners below `count` counters of their own."""
        _check(_library.memloupe_system_reserve_owners(self._handle, ctypes.c_uint32(count)))

    def access(self, address, size_bytes=8, kind=LOAD, core=0, owner=0, pc=0):
        """Simulates one access; returns the position of the level that answered and its latency in ns."""
        access, answer = Access(address, pc, size_bytes, kind, core, owner), Answer()
        _check(_library.memloupe_system_access(self._handle, ctypes.byref(access), ctypes.byref(answer)))
        return answer.level, answer.latency_ns

    def run(self, addresses, sizes_bytes=8, kinds=LOAD, cores=0, owners=0, pcs=0):
        """Simulates a batch; returns the levels that answered and the latencies in ns."""
        count = len(addresses)
        columns = [addresses, sizes_bytes, kinds, cores, owners, pcs]
        levels, latencies = array.array("I"), array.array("d")
        for row in zip(*(_column(column, count, 0) for column in columns)):
            level, latency_ns = self.access(*row)
            levels.append(level)
            latencies.append(latency_ns)
        if numpy is None:
            return levels, latencies
        return numpy.frombuffer(levels, dtype=numpy.uint32), numpy.frombuffer(latencies)

    def flush(self):
        """Writes all dirty lines to memory."""
        _check(_library.memloupe_system_flush(self._handle))


class Reader(_Handle):
    """The accesses of a program that `memloupe run --record` recorded, with names.

    Iterating gives batches: numpy's structured arrays if numpy is there, else arrays of RecordedAccess."""

    _kind = "reader"

    def __init__(self, recording, moved=()):
        """moved: pairs (from, to) of folders, for files of the program that are elsewhere now."""
        self._names = {}
        self._make("open", os.fsencode(recording))
        for before, now in moved:
            _check(_library.memloupe_reader_moved(self._handle, os.fsencode(before), os.fsencode(now)))

    def read(self, most=65536):
        """The next accesses; none at the end."""
        room, count = (RecordedAccess * most)(), ctypes.c_size_t()
        _check(_library.memloupe_reader_read(self._handle, room, ctypes.c_size_t(most), ctypes.byref(count)))
        if numpy is None:
            return room[: count.value]
        return numpy.ctypeslib.as_array(room)[: count.value]

    def __iter__(self):
        while len(batch := self.read()):
            yield batch

    def _named(self, what, number):
        # What an id stands for doesn't change, but for how large an object has become.
        key = what, int(number)
        if key not in self._names:
            self._names[key] = self._json(what, ctypes.c_uint32(key[1]))
        return self._names[key]

    def operator(self, operator_id):
        """kind, name, layer, shape, type, sources; None for NO_OPERATOR."""
        return None if operator_id == NO_OPERATOR else self._named("operator", operator_id)

    def object(self, object_id):
        """name, class, bytes."""
        return self._named("object", object_id)

    def phase(self, phase_id):
        """name, index."""
        return self._named("phase", phase_id)

    def about(self):
        """What is known of the run; all of it once everything is read."""
        return self._json("about")
