"""The events that are produced, and the forms in which they are written."""

import io
import json
import pathlib
import random
import struct
import uuid

import fastavro

from values import Values

SCHEMAS = pathlib.Path(__file__).parent.parent / "schemas"
COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
# The domain topics' max.message.bytes, without what a batch and a record take beside the value.
LIMIT = 1_048_588 - 200
PEOPLE = [None, "", "user-1", "é" * 256, "\u2028\"'\\", "🦀"]


def source(name):
    return (SCHEMAS / f"{name}.avsc").read_text()


def events(seed):
    """Name of the schema, value, and the compression where it matters."""
    everything = Values(fastavro.parse_schema(json.loads(source("everything"))), seed)
    for _ in range(240):
        value = everything.next()
        value["occurred_at"] = 1_700_000_000_000_000 + everything.random.getrandbits(40)
        value["user_id"], value["company_id"] = everything.random.choices(PEOPLE, k=2)
        yield "everything", value, None
    chance = random.Random(seed)
    for depth in [1, 2, 3, 63, 64]:
        for shape in ["array", "record"]:
            # A record within an array is two levels.
            levels = depth if shape == "record" else (depth + 1) // 2
            yield "chain", envelope(chance, 1_700_000_000_000 + depth, {"next": chain(shape, levels)}), None
    for compression in COMPRESSIONS:
        yield "bulk", envelope(chance, 1_700_000_000_000_001, bulk(raw=chance.randbytes(LIMIT - 700))), compression
        if compression != "none":
            # Larger than the topic's limit until it is compressed.
            yield "bulk", envelope(chance, -1, bulk(text="a line of a long story\n" * 50_000)), compression
    for data in [bulk(), bulk(text="Ω" * (LIMIT // 2 - 350)), bulk(numbers=[2**63 - 1, -1] * 90_000)]:
        yield "bulk", envelope(chance, 0, data), "none"


def bulk(text="", raw=b"", numbers=()):
    return {"text": text, "raw": raw, "numbers": list(numbers)}


def envelope(chance, time, data):
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "occurred_at": time,
        "user_id": None,
        "company_id": "c" * 512,
        "data": data,
        "metadata": {},
    }


def chain(shape, levels):
    value = None
    for _ in range(levels - 1):
        link = {"next": value}
        value = [link] if shape == "array" else ("events.order.Link", link)
    return value


def framed(schema_id, schema, value):
    out = io.BytesIO(struct.pack(">bI", 0, schema_id))
    out.seek(5)
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()
