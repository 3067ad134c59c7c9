// A receiver of webhooks: it knows them by the signature of the bytes as they came, drops repeats,
// and answers before the work begins. With Node 18 or newer:
//
//     npm ci
//     WEBHOOK_SECRET=whsec_… PORT=9000 node receiver.mjs
//
// A line on stdout says what came of each request.

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const MAX_BODY = 16 << 20; // an event is at most 1 MiB in Kafka, and as JSON some times that
const REMEMBERED = 100_000; // ids, at most
const WAITING = 1_000; // events whose work has not begun, at most

const secret = process.env.WEBHOOK_SECRET?.trim();
if (!secret) {
  console.error("receiver: WEBHOOK_SECRET is not set");
  process.exit(1);
}
const webhook = new Webhook(secret);
const seen = new Set();
const waiting = [];

async function receive(request, response) {
  if (request.method !== "POST") return answer(response, 405);
  const body = await read(request);
  if (body === null) return answer(response, 413, { connection: "close" });
  let event;
  try {
    // The bytes as they came: JSON that was parsed and written again is another text, with another
    // signature.
    event = webhook.verify(body, request.headers);
  } catch (error) {
    console.log(`refused: ${error.message}`);
    return answer(response, 400, {}, error.message);
  }
  accept(response, request.headers["webhook-id"], event);
}

// A repeat is answered like the first, or it would come again.
function accept(response, id, event) {
  const name = `${event.type} ${id}`;
  if (seen.has(id)) {
    console.log(`repeat ${name}`);
    return answer(response, 204);
  }
  if (waiting.length >= WAITING) {
    // Not remembered, so that it is taken when it comes again.
    console.log(`busy ${name}`);
    return answer(response, 503, { "retry-after": "5" });
  }
  waiting.push(event);
  setImmediate(doTheWork);
  seen.add(id);
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
  console.log(`received ${name}`);
  answer(response, 204);
}

// What the event is good for. In earnest, what waits here and what was seen are rows of one
// database, written before the answer, so that a crash loses nothing.
function doTheWork() {
  waiting.shift();
}

async function read(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += chunk.length;
    if (length > MAX_BODY) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answer(response, status, headers = {}, text = "") {
  response.writeHead(status, headers).end(text);
}

const server = createServer((request, response) => {
  receive(request, response).catch((error) => {
    console.error(`receiver: ${error.message}`);
    response.destroy();
  });
});
server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
