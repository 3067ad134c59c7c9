"""Produces events as an application in Python may: `produce.py HOW BROKERS REGISTRY TOPIC SEED`.

HOW is `serializer` (confluent-kafka with its AvroSerializer), `framed` (fastavro, framed by hand)
or `broken` (what cannot be read). A line of JSON for each record says where it is and, if it must
not be in the log, the class under which it is quarantined.
"""

import itertools
import json
import sys

import fastavro
from confluent_kafka import Producer
from confluent_kafka.schema_registry import (
    Schema,
    SchemaRegistryClient,
    topic_record_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import broken
from events import COMPRESSIONS, events, framed, source

KEYS = [None, b"", b"\0\xff\x80", "ключ".encode(), b"k" * 3000]
HEADERS = [
    None,
    [("ce_id", b"claimed"), ("ce_type", b"order.other"), ("ce_specversion", b"1.0"), ("content-type", b"application/avro")],
    [("same", b"1"), ("same", b"2"), ("empty", b""), ("null", None), ("binary", bytes(range(256))), ("é", b"x")],
    [(f"h{n}", b"v" * n) for n in range(100)],
]


class Sender:
    """One producer for each compression."""

    def __init__(self, brokers, topic):
        self.topic = topic
        self.errors = []
        self.keys, self.headers = itertools.cycle(KEYS), itertools.cycle(HEADERS)
        self.producers = {
            compression: Producer({
                "bootstrap.servers": brokers,
                "compression.type": compression,
                "partitioner": "murmur2_random",
                "message.max.bytes": 8_000_000,
                "linger.ms": 5,
            })
            for compression in COMPRESSIONS
        }
        self.turn = itertools.cycle(COMPRESSIONS)

    def send(self, value, compression=None, refused=None, key=None):
        def delivered(error, message):
            if error is not None:
                self.errors.append(f"{len(value or b'')} bytes, {compression}: {error}")
                return
            position = f"{message.topic()}:{message.partition()}:{message.offset()}"
            print(json.dumps({"position": position, "class": refused}))

        bulky = value is not None and len(value) > 100_000
        self.producers[compression or next(self.turn)].produce(
            self.topic,
            value=value,
            key=b"bulky" if bulky else key or next(self.keys),
            headers=None if bulky else next(self.headers),
            on_delivery=delivered,
        )

    def flush(self):
        for producer in self.producers.values():
            if producer.flush(60):
                sys.exit("not all records were delivered within a minute")
        if self.errors:
            sys.exit("\n".join(["not delivered:", *self.errors]))


def by_serializer(registry, topic, send, seed):
    client = SchemaRegistryClient({"url": registry})
    settings = {"subject.name.strategy": topic_record_subject_name_strategy}
    serializers = {}
    for name, value, compression in events(seed):
        if name not in serializers:
            serializers[name] = AvroSerializer(client, source(name), conf=settings)
        send(serializers[name](value, SerializationContext(topic, MessageField.VALUE)), compression)


def by_hand(registry, topic, send, seed):
    client = SchemaRegistryClient({"url": registry})
    ids, schemas = {}, {}
    for name, value, compression in events(seed):
        if name not in ids:
            ids[name] = client.register_schema(f"{topic}-by-hand-{name}", Schema(source(name), "AVRO"))
            schemas[name] = fastavro.parse_schema(json.loads(source(name)))
        send(framed(ids[name], schemas[name], value), compression)


def main():
    how, brokers, registry, topic, seed = sys.argv[1:]
    sender = Sender(brokers, topic)
    produce = {"serializer": by_serializer, "framed": by_hand, "broken": broken.produce}[how]
    produce(registry, topic, sender.send, int(seed))
    sender.flush()


if __name__ == "__main__":
    main()
