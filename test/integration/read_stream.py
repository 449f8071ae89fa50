"""Reads a run with ops/python/batches.py; prints one JSON line a step: the records of each lane, and the joined batch.

Takes {"reader", "kafka", "run", "rank", "ranks", "lanes", "planHash", "steps", "fromStep", "torch"} as JSON on stdin. With
"torch" a line also holds what consume.py makes of the batch: a pixel of each image, and its targets.
"""

import hashlib
import json
import sys

job = json.load(sys.stdin)
sys.path.insert(0, job["reader"])

from batches import batches, slices  # noqa: E402

kafka, run, steps = job["kafka"], job["run"], range(job["fromStep"], job["steps"])
lanes = zip(*(slices(kafka, run, lane, steps, job["planHash"]) for lane in job["lanes"]))
if job["torch"]:
    from consume import tensors_of
for (step, batch), chunks in zip(batches(kafka, run, job["rank"], job["ranks"], job["fromStep"]), lanes):
    line = {
        "step": step,
        "records": [[hashlib.sha256(record).hexdigest() for record in lane] for lane in chunks],
        "batch": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in batch.items()},
        "shape": batch["images"].shape,
    }
    if job["torch"]:
        pixels, targets = tensors_of(batch, job["torch"]["classes"])
        line["pixels"] = pixels[:, :, 0, 1].tolist()
        line["targets"] = targets.tolist()
    print(json.dumps(line), flush=True)
