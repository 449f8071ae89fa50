"""librdkafka's contender of `ops bench kafka`, through confluent-kafka: a KafkaLoad as JSON on stdin, {seconds, bytes} out."""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

load = json.load(sys.stdin)
lanes, topic = load["lanes"], load["topic"]
broker = {"bootstrap.servers": load["transport"].removeprefix("kafka://")}


def produce():
    producer = Producer(
        {
            **broker,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.max.bytes": load["maxRecordBytes"],
            "queue.buffering.max.kbytes": 65536,
        }
    )
    with open(load["payload"], "rb") as file:
        values = file.read().split(b"\n")[:-1]
    done = {"bytes": 0}

    def delivered(error, message):
        if error is not None:
            raise RuntimeError(error.str())
        done["bytes"] += len(message)

    def run(records):
        for i in range(records):
            while True:
                try:
                    producer.produce(topic, values[i % len(values)], partition=i % lanes, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
        if producer.flush(60) > 0:
            raise RuntimeError("records were not delivered within 60 s")

    run(load["warmUp"])
    done["bytes"] = 0
    begun = time.perf_counter()
    run(load["records"])
    return time.perf_counter() - begun, done["bytes"]


def consume():
    consumer = Consumer(
        {
            **broker,
            "group.id": "bench-unused",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 8 * 1024 * 1024,
            "queued.max.messages.kbytes": 64 * 1024,
        }
    )
    begun = time.perf_counter()
    consumer.assign([TopicPartition(topic, lane, OFFSET_BEGINNING) for lane in range(lanes)])
    records = count = 0
    while records < load["records"]:
        for message in consumer.consume(num_messages=16, timeout=30):
            if message.error() is not None:
                raise RuntimeError(message.error().str())
            count += len(message)
            records += 1
    seconds = time.perf_counter() - begun
    consumer.close()
    return seconds, count


seconds, count = produce() if load["task"] == "produce" else consume()
print(json.dumps({"seconds": seconds, "bytes": count}))
