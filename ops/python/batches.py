"""Reads a run's training batches from Kafka, proved by the ledger. Needs this project's formats, none of its code."""

import json

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from safetensors.numpy import load
from xxhash import xxh3_128


def records(kafka, topic, partition, offset):
    """(offset, bytes) of the records from `offset` on; None each time that the end is reached. Waits there for more."""
    reading = {"enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error"}
    # 8 MiB of memory. By default a full queue fetches no more for a second, and an end is told after half a second.
    ahead = {"queued.max.messages.kbytes": 8192, "fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 100}
    consumer = Consumer({"group.id": "none", **reading, **ahead, **kafka})
    consumer.assign([TopicPartition(topic, partition, offset)])  # no group, so nobody is waited for
    try:
        while True:
            if (message := consumer.poll(1.0)) is None:
                continue
            if message.error() is None:
                yield message.offset(), message.value()
            elif message.error().code() == KafkaError._PARTITION_EOF:
                yield None
            else:  # also where the log no longer holds `offset`
                raise KafkaException(message.error())
    finally:
        consumer.close()


def run_of(kafka, run):
    """Record 0 of RUN.meta: plan, recipe, classes."""
    meta = next(record for record in records(kafka, f"{run}.meta", 0, 0) if record is not None)
    return json.loads(meta[1])


def ledger(kafka, run, lane, steps):
    """The newest ledger record of each step of a lane, in order; waits for what is not produced yet."""
    known, ended, log = {}, False, records(kafka, f"{run}.ledger", lane, 0)
    for step in steps:
        while not (ended and step in known):
            record = next(log)
            ended = ended or record is None
            entry = json.loads(record[1]) if record else {"step": -1}  # the val split's step is −1, too
            if entry["step"] >= step:
                known[entry["step"]] = entry
        yield known.pop(step)


def slices(kafka, run, lane, steps, plan_hash):
    """A lane's records of each step, in chunk order: of every chunk the first in [offset, end). Others are skipped."""
    topic, position, log = None, None, None
    for entry in ledger(kafka, run, lane, steps):
        if (topic, position) != (entry["topic"], entry["offset"]):
            topic, position = entry["topic"], entry["offset"]
            log = records(kafka, topic, lane, position)
        chunks, digest = [], xxh3_128()
        while position < entry["end"]:
            if (record := next(log)) is None:
                continue
            position, value = record[0] + 1, record[1]
            about = json.loads(value[8 : 8 + int.from_bytes(value[:8], "little")])["__metadata__"]
            wanted = {"plan": plan_hash, "step": entry["step"], "lane": lane, "chunk": len(chunks)}
            if all(about[key] == str(what) for key, what in wanted.items()):
                chunks.append(value)
                digest.update(value)
        if len(chunks) != entry["chunks"] or digest.hexdigest() != entry["digest"]:
            found = f"{len(chunks)} of {entry['chunks']} chunks, digest {digest.hexdigest()}, not {entry['digest']}"
            raise ValueError(f"{topic}, lane {lane}, step {entry['step']}: {found}")
        yield chunks


def batches(kafka, run, rank=0, ranks=1, from_step=0):
    """(step, batch) of the rank's lanes: labelA, labelB, lam, sample [n], images U8 [n, h, w, 3], as NumPy arrays."""
    meta = run_of(kafka, run)
    lanes, steps = meta["plan"]["lanes"], range(from_step, meta["plan"]["steps"])
    if lanes % ranks != 0 or not 0 <= rank < ranks:
        raise ValueError(f"rank {rank} of {ranks}: the number of ranks must divide the {lanes} lanes")
    mine = range(rank * lanes // ranks, (rank + 1) * lanes // ranks)
    for step, chunks in zip(steps, zip(*(slices(kafka, run, lane, steps, meta["planHash"]) for lane in mine))):
        tensors = [load(record) for lane in chunks for record in lane]
        yield step, {name: np.concatenate([chunk[name] for chunk in tensors]) for name in tensors[0]}
