# Counts the accesses of a recording by kind of operator, object and access, through memloupe's C library. usage: read_recording.py RECORDING
import collections
import json
import sys

import memloupe_models

KINDS = {
    memloupe_models.LOAD: "load",
    memloupe_models.STORE: "store",
    memloupe_models.READ_MODIFY_WRITE: "read-modify-write",
}

counts = collections.Counter()
with memloupe_models.Reader(sys.argv[1]) as reader:
    for batch in reader:
        for access in batch if memloupe_models.numpy is None else batch.tolist():
            _, _, _, kind, _, operator_id, object_id, _ = (
                (getattr(access, name) for name, _ in access._fields_) if memloupe_models.numpy is None else access
            )
            if kind in KINDS:
                counts[operator_id, object_id, kind] += 1
    named = collections.Counter()
    for (operator_id, object_id, kind), count in counts.items():
        operator = reader.operator(operator_id) or {"kind": "(no operator)"}
        named[operator["kind"], reader.object(object_id)["name"], KINDS[kind]] += count
    assert reader.about()["is_complete"]
print(json.dumps([[*names, count] for names, count in named.items()]))
