import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.avro.strategy.TopicRecordIdStrategy;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Produces events as an application in Java may, with Apicurio's serializer in Confluent's framing:
 * {@code Produce BROKERS REGISTRY TOPIC SEED SCHEMAS}. Prints where each record is.
 */
public final class Produce {
    private static final String[] COMPRESSIONS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private static final byte[][] KEYS = {null, {}, {0, -1, -128}, "ключ".getBytes(java.nio.charset.StandardCharsets.UTF_8)};
    /** The domain topics' max.message.bytes, without what a batch and a record take beside the value; more below for blocks of snappy. */
    private static final int LIMIT = 1_048_588 - 200;

    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private final AvroKafkaSerializer<GenericRecord> serializer = new AvroKafkaSerializer<>();
    private final List<Future<RecordMetadata>> sent = new ArrayList<>();
    private final String topic;

    private Produce(String brokers, String registry, String topic) {
        this.topic = topic;
        for (String compression : COMPRESSIONS) {
            Map<String, Object> settings = Map.of("bootstrap.servers", brokers, "compression.type", compression,
                "max.request.size", 8_000_000);
            producers.put(compression, new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer()));
        }
        // Four bytes of content id after a zero byte are the defaults of 3.x; said here because the test is about them.
        serializer.configure(Map.of("apicurio.registry.url", registry, "apicurio.registry.auto-register", true,
            "apicurio.registry.artifact-resolver-strategy", TopicRecordIdStrategy.class.getName(),
            "apicurio.registry.headers.enabled", false, "apicurio.registry.dereference-schema", true, "apicurio.registry.use-id", "contentId",
            "apicurio.registry.id-handler", "io.apicurio.registry.serde.Default4ByteIdHandler"), false);
    }

    /** The value as the serializer makes it, or with the sizes of its blocks, which readers must also take. */
    private byte[] value(GenericRecord event, Headers headers, boolean blocks) throws IOException {
        byte[] value = serializer.serialize(topic, headers, event);
        if (!blocks) {
            return value;
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(value, 0, 5);
        BinaryEncoder encoder = new EncoderFactory().configureBlockSize(64).blockingBinaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(event.getSchema()).write(event, encoder);
        encoder.flush();
        return out.toByteArray();
    }

    private void send(GenericRecord event, int n, String compression, boolean blocks) throws IOException {
        Headers headers = new RecordHeaders();
        if (n % 3 == 1) {
            headers.add("ce_id", "claimed".getBytes()).add("ce_type", "order.other".getBytes()).add("ce_type", null);
        } else if (n % 3 == 2) {
            headers.add("", new byte[0]).add("binary", new byte[] {0, -1, 10}).add("é", new byte[300]);
        }
        byte[] value = value(event, headers, blocks);
        sent.add(producers.get(compression).send(new ProducerRecord<>(topic, null, KEYS[n % KEYS.length], value, headers)));
    }

    private void everything(Schema schema, long seed) throws IOException {
        Values values = new Values(seed);
        for (int n = 0; n < 240; n++) {
            send(values.event(schema), n, COMPRESSIONS[n % COMPRESSIONS.length], n % 4 == 3);
        }
    }

    private void chains(Schema schema) throws IOException {
        Schema link = schema.getField("data").schema();
        for (int depth = 1; depth <= 64; depth += 9) {
            GenericRecord data = null;
            for (int level = 0; level < depth; level++) {
                GenericRecord outer = new GenericData.Record(link);
                outer.put("next", data);
                data = outer;
            }
            send(event(schema, data), depth, "none", false);
        }
    }

    private void bulk(Schema schema, long seed) throws IOException {
        Values values = new Values(seed);
        for (String compression : COMPRESSIONS) {
            send(event(schema, bulk(schema, values.noise(LIMIT - 2_000), 0)), 3, compression, false);
            if (!compression.equals("none")) {
                // Larger than the topic's limit until it is compressed.
                send(event(schema, bulk(schema, "a line of a long story\n".repeat(50_000), 0)), 3, compression, false);
            }
        }
        send(event(schema, bulk(schema, "", 0)), 3, "none", false);
        send(event(schema, bulk(schema, "", 100_000)), 3, "none", true);
    }

    private static GenericRecord bulk(Schema schema, String text, int count) {
        GenericRecord data = new GenericData.Record(schema.getField("data").schema());
        data.put("text", text);
        data.put("raw", ByteBuffer.allocate(0));
        List<Long> numbers = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            numbers.add((long) n);
        }
        data.put("numbers", numbers);
        return data;
    }

    private static GenericRecord event(Schema schema, GenericRecord data) {
        GenericRecord event = new GenericData.Record(schema);
        event.put("id", UUID.randomUUID().toString().toUpperCase());
        event.put("occurred_at", 1_700_000_000_123L);
        event.put("metadata", Map.of());
        event.put("data", data);
        return event;
    }

    private void report() throws Exception {
        for (Future<RecordMetadata> delivery : sent) {
            RecordMetadata at = delivery.get();
            System.out.printf("{\"position\":\"%s:%d:%d\",\"class\":null}%n", at.topic(), at.partition(), at.offset());
        }
        producers.values().forEach(KafkaProducer::close);
        serializer.close();
    }

    private static Schema schema(String folder, String name) throws IOException {
        return new Schema.Parser().parse(Path.of(folder, name + ".avsc").toFile());
    }

    public static void main(String[] arguments) throws Exception {
        Produce produce = new Produce(arguments[0], arguments[1], arguments[2]);
        long seed = Long.parseLong(arguments[3]);
        produce.everything(schema(arguments[4], "everything"), seed);
        produce.chains(schema(arguments[4], "chain"));
        produce.bulk(schema(arguments[4], "bulk"), seed);
        produce.report();
        // The registry's client leaves threads behind.
        System.exit(0);
    }
}
