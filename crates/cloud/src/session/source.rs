//! Where an image's bytes come from.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;

/// Bytes to come, and how many, where that is known.
pub(super) struct Source {
    pub length: Option<u64>,
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}
