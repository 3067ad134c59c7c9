import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;

/** Values of any schema: at each place what is known to be hard in turn, and then at random. */
final class Values {
    private static final long FIRST = -62_135_596_800L;
    private static final long AFTER = 253_402_300_800L;
    private static final List<Object> INTS = List.of(0, -1, 1, 63, -64, 64, -65, Integer.MAX_VALUE, Integer.MIN_VALUE);
    private static final List<Object> LONGS =
        List.of(0L, -1L, 1L, 63L, -65L, (1L << 53) + 1, Long.MAX_VALUE, Long.MIN_VALUE, Long.MIN_VALUE + 1);
    private static final List<Object> FLOATS = List.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY,
        0f, -0f, 0.1f, -1.5f, 16777216f, Float.MAX_VALUE, Float.MIN_VALUE, Float.intBitsToFloat(0x7fc12345));
    private static final List<Object> DOUBLES = List.of(Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY,
        0d, -0d, 0.1d, 1e15, 1e16, 1e22, 1e-5, Double.MAX_VALUE, Double.MIN_VALUE, Double.MIN_NORMAL);
    private static final List<Object> TEXTS = List.of("", "plain", "\"\\/\b\f\n\r\t\u0001\u001f\u007f", "ü 漢字 العربية",
        "\uD83E\uDD80 e\u0301 \uD834\uDD1E", "\u2028\u2029\uFEFF\uFFFF", "x".repeat(2000), "\uD83E\uDD80".repeat(500));
    private static final List<String> KEYS = List.of("", "a", "b", "k \"\\\n", "ключ", "\uD83E\uDD80", "z".repeat(100));

    private final Random random;
    private final Map<String, Integer> places = new HashMap<>();

    Values(long seed) {
        random = new Random(seed);
    }

    private <T> T turn(String place, List<T> choices) {
        int at = places.merge(place, 1, Integer::sum) - 1;
        return choices.get(at < choices.size() ? at : random.nextInt(choices.size()));
    }

    Object value(Schema schema, String place, int depth) {
        return switch (schema.getType()) {
            case NULL -> null;
            case BOOLEAN -> random.nextBoolean();
            case INT -> integer(schema, place);
            case LONG -> turn(place, longs(schema));
            case FLOAT -> turn(place, FLOATS);
            case DOUBLE -> turn(place, DOUBLES);
            case STRING -> named(schema, "uuid") ? uuid() : turn(place, TEXTS);
            case BYTES -> ByteBuffer.wrap(named(schema, "decimal") ? decimal(schema, place) : bytes(turn(place, List.of(0, 1, 256, 3))));
            case FIXED -> new GenericData.Fixed(schema, named(schema, "decimal") ? decimal(schema, place) : bytes(schema.getFixedSize()));
            case ENUM -> new GenericData.EnumSymbol(schema, turn(place, schema.getEnumSymbols()));
            case UNION -> union(schema, place, depth);
            case ARRAY -> array(schema, place, depth);
            case MAP -> map(schema, place, depth);
            case RECORD -> record(schema, place, depth);
        };
    }

    private static boolean named(Schema schema, String logical) {
        return logical.equals(schema.getProp("logicalType"));
    }

    private String uuid() {
        return new UUID(random.nextLong(), random.nextLong()).toString();
    }

    private byte[] bytes(int count) {
        byte[] bytes = new byte[count];
        random.nextBytes(bytes);
        return bytes;
    }

    private Object integer(Schema schema, String place) {
        if (named(schema, "date")) {
            return turn(place, List.<Object>of(0, -1, -719_162, 2_932_896));
        }
        return turn(place, named(schema, "time-millis") ? List.<Object>of(0, 1, 86_399_999) : INTS);
    }

    private static List<Object> longs(Schema schema) {
        String logical = String.valueOf(schema.getProp("logicalType"));
        if (logical.equals("time-micros")) {
            return List.of(0L, 1L, 86_399_999_999L);
        }
        if (logical.endsWith("timestamp-millis") || logical.endsWith("timestamp-micros")) {
            long steps = logical.endsWith("millis") ? 1_000L : 1_000_000L;
            return List.of(0L, 1L, -1L, -steps, FIRST * steps, AFTER * steps - 1, 1_700_000_000L * steps + 1);
        }
        return LONGS;
    }

    /** Big-endian two's complement, padded to the size of a fixed. */
    private byte[] decimal(Schema schema, String place) {
        LogicalTypes.Decimal type = (LogicalTypes.Decimal) schema.getLogicalType();
        var most = java.math.BigInteger.TEN.pow(type.getPrecision()).subtract(java.math.BigInteger.ONE);
        var any = new java.math.BigInteger(most.bitLength() - 1, random);
        byte[] digits = turn(place, List.of(most.negate(), most, any, any.negate(), java.math.BigInteger.ZERO, any.shiftRight(20))).toByteArray();
        if (schema.getType() == Schema.Type.BYTES) {
            return digits;
        }
        byte[] padded = new byte[schema.getFixedSize()];
        java.util.Arrays.fill(padded, (byte) (digits[0] >> 7));
        System.arraycopy(digits, 0, padded, padded.length - digits.length, digits.length);
        return padded;
    }

    private Object union(Schema schema, String place, int depth) {
        List<Schema> branches = schema.getTypes();
        if (depth > 5) {
            branches = branches.stream().filter(b -> b.getType().ordinal() > Schema.Type.UNION.ordinal()).toList();
        }
        Schema branch = turn(place + "|", branches);
        return value(branch, place + "|" + branch.getFullName(), depth + 1);
    }

    private int count(String place, int depth) {
        return depth > 5 ? 0 : turn(place + "#", List.of(0, 1, 2, 150));
    }

    private Object array(Schema schema, String place, int depth) {
        int count = Math.min(count(place, depth), depth > 2 ? 4 : 150);
        List<Object> items = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            items.add(value(schema.getElementType(), place + "[]", depth + 1));
        }
        return new GenericData.Array<>(schema, items);
    }

    private Object map(Schema schema, String place, int depth) {
        int count = Math.min(count(place, depth), KEYS.size());
        Map<String, Object> entries = new LinkedHashMap<>();
        for (String key : KEYS.subList(0, count)) {
            entries.put(key, value(schema.getValueType(), place + "{}", depth + 1));
        }
        return entries;
    }

    /** A field with a default is sometimes left out, and the builder fills it in. */
    GenericRecord record(Schema schema, String place, int depth) {
        GenericRecordBuilder builder = new GenericRecordBuilder(schema);
        for (Schema.Field field : schema.getFields()) {
            if (!field.hasDefaultValue() || random.nextInt(5) > 0) {
                builder.set(field, value(field.schema(), place + "." + field.name(), depth + 1));
            }
        }
        return builder.build();
    }

    GenericRecord event(Schema schema) {
        GenericRecord event = record(schema, "", 0);
        for (String person : new String[] {"user_id", "company_id"}) {
            event.put(person, turn(person, java.util.Arrays.asList(null, "", "company", "é".repeat(256))));
        }
        return event;
    }

    /** Text of so many bytes that does not compress. */
    String noise(int count) {
        return new String(java.util.Base64.getEncoder().encode(bytes(count / 4 * 3)), StandardCharsets.US_ASCII);
    }
}
