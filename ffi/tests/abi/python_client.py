"""The Python module: batches, refusals, errors and checkpoints, with numpy if there is one."""

import memloupe_models as memloupe

COUNT = 3000
addresses = [i * 2654435761 % 2**26 // 64 * 64 for i in range(COUNT)]
times = [i * 700 for i in range(COUNT)]
kinds = [memloupe.WRITE if i % 5 == 0 else memloupe.READ for i in range(COUNT)]

with memloupe.Memory("desktop", "[controller]\nread_queue = 8\n") as memory:
    if memloupe.numpy is None:
        done = memory.run(times, addresses, kinds=kinds, tags=[i % 2 for i in range(COUNT)])
    else:
        numpy = memloupe.numpy
        columns = [numpy.array(column, dtype=numpy.uint64) for column in (times, addresses, kinds)]
        done = memory.run(columns[0], columns[1], kinds=columns[2], tags=numpy.arange(COUNT) % 2)
    counted = memory.statistics()
    assert counted["totals"]["reads"] == COUNT * 4 // 5 and counted["totals"]["writes"] == COUNT // 5
    assert counted["totals"]["refusals"] > 0
    assert [tag["read_requests"] + tag["write_requests"] for tag in counted["tags"]] == [COUNT // 2] * 2
    reads = [int(done["latency_ps"][i]) for i in range(COUNT) if kinds[i] == memloupe.READ]
    assert sum(reads) == sum(tag["read_latency_ps"] for tag in counted["tags"])
    assert all(int(done["accepted_ps"][i]) >= times[i] for i in range(COUNT))
    assert memory.statistic("row_hits") == counted["totals"]["row_hits"]

    state = memory.checkpoint()
    with memloupe.Memory("desktop", "[controller]\nread_queue = 8\n") as other:
        other.restore(state)
        assert other.statistics() == memory.statistics()
    for damaged in (state[:-1], b"", state[:20] + bytes([state[20] ^ 1]) + state[21:]):
        try:
            memory.restore(damaged)
            raise SystemExit("a damaged checkpoint was taken")
        except memloupe.Error as error:
            assert error.status == 8, error

with memloupe.System("extends = 'desktop'\n") as system:
    levels, latencies = system.run([0, 8, 64, 0], kinds=memloupe.LOAD)
    assert list(levels) == [4, 0, 4, 0], list(levels)
    assert latencies[0] > latencies[1] > 0
    assert system.cores() == 8
    assert system.statistics()["totals"]["dram_read_bytes"] == 128
    assert system.statistic("dram_read_bytes") == 128
    try:
        system.access(0, owner=1)
        raise SystemExit("an owner that is not reserved was taken")
    except memloupe.Error as error:
        assert "owner: 1 of 1" in str(error)

# Two instructions that walk through memory in turn: who learns by instruction sees two strides, else there is none.
BY_INSTRUCTION = """
extends = 'desktop'
[cache.l1d]
prefetcher = 'stride'
"""


def first_level_hits(pcs):
    with memloupe.System(BY_INSTRUCTION) as system:
        walks = [base + 256 * step for step in range(200) for base in (0, 1 << 24)]
        levels, _ = system.run(walks, pcs=pcs)
        return sum(level == 0 for level in levels)


assert first_level_hits([0x401000, 0x401008] * 200) > 300
assert first_level_hits([0x401000] * 400) < 10
assert first_level_hits(0) < 10

try:
    memloupe.Reader("/nonexistent/recording")
    raise SystemExit("a recording that does not exist was taken")
except memloupe.Error as error:
    assert error.status == 9 and "/nonexistent/recording" in str(error), error

try:
    memloupe.Memory("desktpo")
    raise SystemExit("a machine that does not exist was taken")
except memloupe.Error as error:
    assert "did you mean 'desktop'" in str(error)
print("ok")
