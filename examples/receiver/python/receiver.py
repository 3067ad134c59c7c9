"""A receiver of webhooks: it knows them by the signature of the bytes as they came, drops repeats,
and answers before the work begins.

    python3 -m venv .venv
    .venv/bin/pip install --require-hashes --requirement requirements.txt
    WEBHOOK_SECRET=whsec_… PORT=9000 .venv/bin/python receiver.py

A line on stdout says what came of each request.
"""

import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY = 16 << 20  # an event is at most 1 MiB in Kafka, and as JSON some times that
REMEMBERED = 100_000  # ids, at most

work = queue.Queue(maxsize=1_000)
seen = OrderedDict()
lock = threading.Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds without a byte

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY):
            self.close_connection = True
            return self.answer(413, "a content-length of at most 16 MiB")
        body = self.rfile.read(int(length))
        try:
            # The bytes as they came: JSON that was parsed and written again is another text, with
            # another signature.
            event = webhook.verify(body, dict(self.headers.items()))
        except (WebhookVerificationError, ValueError) as error:  # ValueError: not base64, not JSON
            print(f"refused: {error}", flush=True)
            return self.answer(400, str(error))
        self.answer(*accept(self.headers["webhook-id"], event))

    def answer(self, status, text="", retry_after=None):
        body = text.encode()
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def accept(id, event):
    """A repeat is answered like the first, or it would come again."""
    name = f"{event['type']} {id}"
    with lock:
        if id in seen:
            print(f"repeat {name}", flush=True)
            return (204,)
        try:
            work.put_nowait(event)
        except queue.Full:
            # Not remembered, so that it is taken when it comes again.
            print(f"busy {name}", flush=True)
            return (503, "", 5)
        seen[id] = True
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)
    print(f"received {name}", flush=True)
    return (204,)


def do_the_work():
    """What the event is good for. In earnest, what waits here and what was seen are rows of one
    database, written before the answer, so that a crash loses nothing."""
    while True:
        json.dumps(work.get())


if __name__ == "__main__":
    secret = os.environ.get("WEBHOOK_SECRET")
    if not secret:
        sys.exit("receiver: WEBHOOK_SECRET is not set")
    webhook = Webhook(secret.strip())
    threading.Thread(target=do_the_work, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
