"""What the log must hold: `expect.py BROKERS REGISTRY TOPIC`.

Reads every record of the topic, decodes it with fastavro, and prints for each a line of JSON: where
it is, its key and headers as the log stores them, and the event in the project's JSON form, or why
fastavro does not read it. It shares nothing with the code that it is compared with.
"""

import base64
import datetime
import decimal
import io
import json
import math
import struct
import sys
import urllib.request
import uuid

import fastavro
from confluent_kafka import Consumer, TopicPartition
from fastavro.read import LOGICAL_READERS


class Single(float):
    """A float of 32 bits, which has a shorter text than the same number in 64 bits."""


class Text(str):
    """A form that is made while reading, since fastavro has none."""


def nanos(value, zone):
    seconds, part = divmod(value, 1_000_000_000)
    second = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return Text(f"{second.isoformat(timespec='seconds')}.{part:09}{zone}")


LOGICAL_READERS["float-single"] = lambda value, *_: Single(value)
LOGICAL_READERS["fixed-uuid"] = lambda value, *_: uuid.UUID(bytes=value)
PARTS = ["months", "days", "millis"]
LOGICAL_READERS["fixed-duration"] = lambda value, *_: dict(zip(PARTS, struct.unpack("<III", value)))
LOGICAL_READERS["long-timestamp-nanos"] = lambda value, *_: nanos(value, "Z")
LOGICAL_READERS["long-local-timestamp-nanos"] = lambda value, *_: nanos(value, "")


def marked(schema):
    """The schema with a mark on every float of 32 bits."""
    if schema == "float":
        return {"type": "float", "logicalType": "single"}
    if isinstance(schema, list):
        return [marked(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: marked(schema[key]) for key in ["type", "items", "values"] if key in schema}
    if "fields" in schema:
        inner["fields"] = [{**field, "type": marked(field["type"])} for field in schema["fields"]]
    return {**schema, **inner}


def form(value):
    """A decoded value as docs/events.md writes it."""
    if isinstance(value, dict):
        return {key: form(of) for key, of in value.items()}
    if isinstance(value, list):
        return [form(of) for of in value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, datetime.time):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if not isinstance(value, Single):
        return value
    for digits in range(1, 18):
        short = float(f"{value:.{digits}g}")
        # What rounds up beyond the largest has too few digits.
        if abs(short) <= 3.4028235677973366e38 and struct.pack("<f", short) == struct.pack("<f", value):
            return short
    raise AssertionError(f"no text for {value!r}")


class Events:
    """Decodes values; schemas come from the registry."""

    def __init__(self, registry):
        self.registry = registry
        self.known = {}

    def schema(self, schema_id):
        if schema_id not in self.known:
            with urllib.request.urlopen(f"{self.registry}/schemas/ids/{schema_id}", timeout=30) as answer:
                text = json.loads(json.load(answer)["schema"])
            # The registry's text says it, or it is what the full name implies.
            words = "".join(f"_{c.lower()}" if c.isupper() else c for c in text["name"]).split("_")[2:]
            event_type = text.get("event_type", "order." + "_".join(words))
            self.known[schema_id] = (event_type, fastavro.parse_schema(marked(text)))
        return self.known[schema_id]

    def event(self, value):
        magic, schema_id = struct.unpack(">bI", value[:5])
        if magic != 0:
            raise ValueError("no framing")
        event_type, schema = self.schema(schema_id)
        rest = io.BytesIO(value[5:])
        read = fastavro.schemaless_reader(rest, schema, None)
        if rest.read():
            raise ValueError("trailing bytes")
        time = read["occurred_at"]
        if isinstance(time, int):
            time = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=time)
        names = {"userId": "user_id", "companyId": "company_id", "data": "data", "metadata": "metadata"}
        head = {"id": str(uuid.UUID(str(read["id"]))), "type": event_type, "timestamp": form(time)}
        return head | {name: form(read[field]) for name, field in names.items()}


def stored(headers):
    """Names and values in order: the length in four bytes, -1 for null, and the bytes."""
    out = b""
    for name, value in headers or []:
        name = name.encode()
        out += struct.pack(">i", len(name)) + name
        out += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return out


def records(brokers, topic):
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "nobody",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.message.max.bytes": 8_000_000,
    })
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    left = set(partitions)
    while left:
        message = consumer.poll(60)
        if message is None:
            sys.exit("nothing came from Kafka for a minute")
        if message.error() is None:
            yield message
        elif message.error().name() == "_PARTITION_EOF":
            left.discard(message.partition())
        else:
            sys.exit(str(message.error()))
    consumer.close()


def main():
    brokers, registry, topic = sys.argv[1:]
    events = Events(registry)
    for message in records(brokers, topic):
        key = message.key()
        line = {
            "position": f"{topic}:{message.partition()}:{message.offset()}",
            "key": None if key is None else key.hex(),
            "headers": stored(message.headers()).hex(),
        }
        try:
            line["event"] = events.event(message.value())
        except Exception as error:
            line["unread"] = repr(error)
        print(json.dumps(line))


if __name__ == "__main__":
    main()
