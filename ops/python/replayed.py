"""Reads the files of `stream replay --to DIR` as batches.py reads a broker's topics: for runs in the embedded log."""

import os
from itertools import groupby

import numpy as np
from safetensors import safe_open


def record(path, plan_hash):
    """A record's tensors by name. One of another plan is an error: its batches are not this recipe's."""
    with safe_open(path, framework="numpy") as file:
        plan = file.metadata()["plan"]
        if plan != plan_hash:
            raise ValueError(f"{path} is of plan {plan}, not {plan_hash}")
        return {name: file.get_tensor(name) for name in file.keys()}


def batches(folder, plan_hash, from_step=0):
    """(step, batch) as batches.batches: labelA, labelB, lam, sample [n], images U8 [n, h, w, 3], lanes in order."""

    def place(name):  # step-000012.lane-03.chunk-00.safetensors
        return [int(part.split("-")[1]) for part in name.split(".")[:3]]

    names = [name for name in os.listdir(folder) if name.endswith(".safetensors")]
    names = sorted((name for name in names if place(name)[0] >= from_step), key=place)
    for step, (found, of_step) in enumerate(groupby(names, key=lambda name: place(name)[0]), from_step):
        if found != step:
            raise ValueError(f"{folder} holds step {found} and not step {step}")
        records = [record(os.path.join(folder, name), plan_hash) for name in of_step]
        yield step, {name: np.concatenate([each[name] for each in records]) for name in records[0]}
