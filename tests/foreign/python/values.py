"""Values of any Avro schema: what is known to be hard in turn, and then anything.

Each place of a schema walks through its own list, so that a few hundred records hold every entry
at every place. Everything is decided by the seed.
"""

import datetime
import decimal
import random
import uuid

INT = [0, -1, 1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -(2**31)]
LONG = INT + [2**31, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
ODD = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.0, -1.5, 0.1, 16777217.0]
FLOAT = ODD + [3.4028234663852886e38, 1.401298464324817e-45, 1.1754943508222875e-38, 123456.79]
DOUBLE = ODD + [5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e15, 1e16, 1e21, 1e22, 1e-5, 1e-7, 2.0**53]
TEXT = [
    "", "plain", "null", 'quotes " and \\ and / and \'', "".join(map(chr, range(1, 33))) + "\x7f\x80\x9f",
    "é ß 漢字 \u0627\u0644\u0639 \u05e9\u05dc\u05d5\u05dd", "🦀👩‍👩‍👧‍👦 e\u0301 \U0010ffff \uffff \ufffd \ufeff",
    "\u2028\u2029\u202e", "{\"a\":[1,2]}", "1e999", " " * 9, "x" * 3000, "𝄞" * 700, "\\u0000",
]
BYTES = [b"", b"\0", bytes(range(256)), b"\xff\xfe\xfd", b"text", b"\0" * 1000]
KEYS = ["", "a", "b", "key with space", "é\"\\\n", "🦀", "null", "x" * 200]
DAY = 86_400
FIRST, LAST = -62_135_596_800, 253_402_300_799
UTC = datetime.timezone.utc


def instants(steps):
    """The ends of the years 0001 to 9999 and what lies about the epoch, in steps of a second."""
    return [0, 1, -1, steps, -steps, steps - 1, FIRST * steps, (LAST + 1) * steps - 1, 1_700_000_000 * steps + 1]


def aware(zone):
    return [datetime.datetime(2024, 2, 29, 23, 59, 59, 999000, zone), datetime.datetime(1900, 1, 1, tzinfo=zone)]


NAMED = {
    ("int", "date"): [0, -1, -719_162, 2_932_896, 11_016, datetime.date(2000, 2, 29), datetime.date(1, 1, 1)],
    ("int", "time-millis"): [0, 1, 86_399_999, datetime.time(12, 34, 56, 789000)],
    ("long", "time-micros"): [0, 1, 86_399_999_999, datetime.time(12, 34, 56, 789012)],
    ("long", "timestamp-millis"): instants(1000) + aware(UTC),
    ("long", "timestamp-micros"): instants(1_000_000) + aware(UTC),
    ("long", "timestamp-nanos"): LONG,
    ("long", "local-timestamp-millis"): instants(1000) + aware(None),
    ("long", "local-timestamp-micros"): instants(1_000_000) + aware(None),
    ("long", "local-timestamp-nanos"): LONG,
}
PLAIN = {
    "null": [None], "boolean": [True, False], "int": INT, "long": LONG, "float": FLOAT,
    "double": DOUBLE, "string": TEXT, "bytes": BYTES,
}


class Values:
    """The values of one schema (as `fastavro.parse_schema` gives it, unexpanded)."""

    def __init__(self, schema, seed):
        self.schema = schema
        self.random = random.Random(seed)
        self.named = schema["__named_schemas"]
        self.places = {}

    def next(self):
        return self.value(self.schema, "", 0)

    def turn(self, place, choices):
        """The place's next entry; None once all have been given."""
        at = self.places.get(place, 0)
        self.places[place] = at + 1
        return choices[at] if at < len(choices) else self.random.choice(choices)

    def value(self, schema, place, depth):
        if isinstance(schema, list):
            return self.union(schema, place, depth)
        if isinstance(schema, str):
            if schema in self.named:
                return self.value(self.named[schema], place, depth)
            return self.turn(place, PLAIN[schema])
        kind, logical = schema["type"], schema.get("logicalType")
        if kind == "record":
            return self.record(schema, place, depth)
        if kind == "array":
            return [self.value(schema["items"], place + "[]", depth + 1) for _ in range(self.count(place, depth))]
        if kind == "map":
            keys = self.random.sample(KEYS, min(self.count(place, depth), len(KEYS)))
            return {key: self.value(schema["values"], place + "{}", depth + 1) for key in keys}
        if kind == "enum":
            return self.turn(place, schema["symbols"])
        if logical == "decimal":
            return self.decimal(schema, place)
        if (kind, logical) == ("string", "uuid"):
            made = uuid.UUID(int=self.random.getrandbits(128))
            return self.turn(place, [str(made), made])
        if kind == "fixed":
            size = schema["size"]
            return self.turn(place, [b"\0" * size, b"\xff" * size, self.random.randbytes(size)])
        return self.turn(place, NAMED.get((kind, logical)) or PLAIN[kind])

    def count(self, place, depth):
        return 0 if depth > 4 else self.turn(place + "#", [0, 1, 2, 3, 130 if depth < 3 else 5])

    def record(self, schema, place, depth):
        made = {}
        for field in schema["fields"]:
            name = field["name"]
            # What has a default may be left out; the serializer writes the default.
            if "default" in field and self.random.random() < 0.2:
                continue
            made[name] = self.value(field["type"], f"{place}.{name}" if depth < 5 else "deep", depth + 1)
        return made

    def union(self, branches, place, depth):
        if depth > 4:
            branches = [b for b in branches if not isinstance(b, dict)] or branches
            branches = [b for b in branches if self.named.get(b, {}).get("type") != "record"] or branches
        branch = self.turn(place + "|", branches)
        name = branch["name"] if isinstance(branch, dict) and "name" in branch else branch
        value = self.value(branch, f"{place}|{branches.index(branch)}", depth + 1)
        # By its branch's name, as a long could also be a double; a dict is taken for what it fits.
        return (name, value) if isinstance(name, str) else value

    def decimal(self, schema, place):
        precision, scale = schema["precision"], schema.get("scale", 0)
        most = 10**precision - 1
        unscaled = self.turn(place, [0, 1, -1, 127, 128, -128, -129, min(10**scale, most), most, -most, self.random.randint(-most, most)])
        if self.turn(place + "?", [True, False]):
            digits = tuple(map(int, str(abs(unscaled))))
            return decimal.Decimal((int(unscaled < 0), digits, -scale))
        shortest = (unscaled.bit_length() + 8) // 8
        # More bytes than the shortest are allowed, too.
        size = schema.get("size", shortest + self.random.choice([0, 0, 1, 70]))
        return unscaled.to_bytes(size, "big", signed=True)
