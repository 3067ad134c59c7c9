"""Records that cannot be read, each with the class under which it is quarantined."""

import json
import random
import struct

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from events import bulk, chain, envelope, framed, source

STRANGER = '{"type":"record","name":"Stranger","namespace":"events.order","fields":[{"name":"id","type":"string"}]}'


def written(schema_id, name, value):
    return framed(schema_id, fastavro.parse_schema(json.loads(source(name))), value)


def produce(registry, topic, send, seed):
    client = SchemaRegistryClient({"url": registry})
    chance = random.Random(seed)

    def register(text):
        return client.register_schema(f"{topic}-broken-{len(text)}", Schema(text, "AVRO"))

    ids = {name: register(source(name)) for name in ["chain", "bulk"]}

    def of(name, **changes):
        data = {"next": None} if name == "chain" else bulk()
        return written(ids[name], name, {**envelope(chance, 1_700_000_000_000, data), **changes})

    good = of("bulk")
    zeros = good[:-4] + b"\x80\x80\x80\x80\x10" + b"\0" * 5
    for refused, value in [
        ("tombstone", None),
        ("no_framing", b""),
        ("no_framing", good[:4]),
        ("no_framing", b"\1" + good[1:]),
        ("no_framing", json.dumps({"id": 1}).encode()),
        ("unknown_schema", struct.pack(">bI", 0, 2_000_000_000) + good[5:]),
        ("wrong_envelope", framed(register(STRANGER), json.loads(STRANGER), {"id": "1"})),
        ("truncated", good[:-1]),
        ("truncated", good[:5]),
        ("trailing_bytes", good + b"\0"),
        ("truncated", zeros),
        ("bad_text", good.replace(b"c" * 512, b"\xff" + b"c" * 511)),
        ("nul_in_text", of("bulk", data=bulk(text="a\0b"))),
        ("nul_in_text", of("bulk", user_id="\0")),
        ("nul_in_text", of("bulk", metadata={"\0": True})),
        ("bad_uuid", of("bulk", id="not a uuid")),
        ("time_out_of_range", of("bulk", occurred_at=253_402_300_800_000_000)),
        ("over_long", of("bulk", user_id="u" * 513)),
        ("too_deep", of("chain", data={"next": chain("record", 65)})),
        ("too_deep", of("chain", data={"next": chain("array", 33)})),
        ("too_deep", of("chain", data={"next": chain("record", 100)})),
    ]:
        send(value, refused=refused)
        send(of("chain"))
