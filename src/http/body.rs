//! What is left of a request's body where its answer did not need it.
//!
//! A server that closes while the client still sends makes the client's system throw away the
//! answer (RFC 9112, 9.6). So what was not read is read on and dropped, up to a bound.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};

/// Bytes that are read for nothing, at most.
const MAX_UNREAD: usize = 32 << 20;
/// How long they are read, at most.
const UNREAD_TIME: Duration = Duration::from_secs(5);

/// Lets the answer to a request reach a client that is still sending.
pub(super) async fn read_to_its_end(request: Request, next: Next) -> Response {
    // Who waits for "100 Continue" has sent nothing, and is not asked to.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let whole = request.map(|body| Body::from_stream(Unread(Some(body.into_data_stream()))));
    next.run(whole).await
}

struct Unread(Option<BodyDataStream>);

impl Stream for Unread {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = body.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let (Some(mut body), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                let reading = async {
                    let mut read = 0;
                    while let Some(Ok(bytes)) = body.next().await {
                        read += bytes.len();
                        if read > MAX_UNREAD {
                            break;
                        }
                    }
                };
                // At the end of its time the connection is closed.
                let _ = tokio::time::timeout(UNREAD_TIME, reading).await;
            });
        }
    }
}
