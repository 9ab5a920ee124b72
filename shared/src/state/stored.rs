//! How state becomes bytes and back: one format byte, then MessagePack with structs as arrays.
//! What is refused: unknown formats, truncated or malformed bytes, and anything behind the record.

use std::fmt;
use std::io::{Cursor, ErrorKind};
use std::marker::PhantomData;

use bytes::Bytes;
use rmp_serde::decode::Error as RmpError;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::ser::Serialize;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("format {found} is unknown; this release reads {known:?}")]
    Format { found: u8, known: &'static [u8] },
    #[error("the record ends too early")]
    Truncated,
    #[error("the record is malformed: {0}")]
    Malformed(String),
    #[error("{count} bytes follow the record")]
    TrailingBytes { count: usize },
    #[error("the {part} part's stored sum is {stored:08x}, its content's {computed:08x}")]
    Sum { part: &'static str, stored: u32, computed: u32 },
}

/// Format byte and compact MessagePack of `value`.
pub(super) fn encode<T: Serialize + ?Sized>(format: u8, value: &T) -> Bytes {
    let mut bytes = vec![format];
    encode_into(&mut bytes, value);
    // Entries are kept, by owners and relays: what growing took beyond their length is given back.
    bytes.into_boxed_slice().into()
}

/// Compact MessagePack of `value`, without a format byte.
pub(super) fn encode_into<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    rmp_serde::encode::write(bytes, value).expect("state types always encode, and memory takes every write");
}

/// Reads back what [`encode`] wrote in one of the `known` formats (all of one shape).
pub(super) fn decode<T: DeserializeOwned>(known: &'static [u8], bytes: &[u8]) -> Result<T, Unreadable> {
    let (format, body) = bytes.split_first().ok_or(Unreadable::Truncated)?;
    if !known.contains(format) {
        return Err(Unreadable::Format { found: *format, known });
    }
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(body));
    let value = T::deserialize(&mut reader).map_err(unreadable)?;
    // rmp-serde accepts trailing bytes silently.
    match body.len() - usize::try_from(reader.position()).unwrap_or(body.len()) {
        0 => Ok(value),
        count => Err(Unreadable::TrailingBytes { count }),
    }
}

fn unreadable(error: RmpError) -> Unreadable {
    match error {
        RmpError::InvalidMarkerRead(e) | RmpError::InvalidDataRead(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Unreadable::Truncated
        }
        other => Unreadable::Malformed(other.to_string()),
    }
}

/// For `deserialize_with` on every `Vec`: grows as elements really arrive. serde's own reserves up to 1 MiB on the
/// word of an array header, which a few hostile bytes can claim.
pub(super) fn growing<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Growing<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Growing<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = elements.next_element()? {
                all.push(element);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Growing(PhantomData))
}
