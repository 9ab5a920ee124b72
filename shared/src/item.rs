//! What is in an item of a feed: the post's name, so that readers know it again, and what was posted. One format byte, then
//! compact msgpack. The log keeps the bytes without looking inside.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::RegionName;
use crate::log::OnceKey;

const FORMAT: u8 = 1;

#[derive(Serialize)]
struct Writing<'a>(&'a OnceKey, #[serde(with = "as_bytes")] &'a [u8]);

#[derive(Deserialize)]
struct Reading(OnceKey, Bytes);

mod as_bytes {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
}

pub fn encode(name: &OnceKey, body: &[u8]) -> Bytes {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write(&mut bytes, &Writing(name, body)).expect("encoding to memory cannot fail");
    bytes.into()
}

/// `None`: bytes of another release or another program.
pub fn decode(stored: &[u8]) -> Option<(OnceKey, Bytes)> {
    let (&FORMAT, record) = stored.split_first()? else { return None };
    let Reading(name, body) = rmp_serde::from_slice(record).ok()?;
    Some((name, body))
}

/// The name and the bytes that an item of another region has in this one. `None`: unreadable, or it came from elsewhere
/// itself.
pub fn from_region(region: &RegionName, stored: &[u8]) -> Option<(OnceKey, Bytes)> {
    let (name, body) = decode(stored)?;
    if matches!(name, OnceKey::From { .. }) {
        return None;
    }
    let name = OnceKey::From { region: region.clone(), name: Box::new(name) };
    let bytes = encode(&name, &body);
    Some((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ActorId, EntryId, PlayerId};

    fn ann() -> PlayerId {
        PlayerId::new("ann").expect("a name")
    }

    #[test]
    fn stored_items_of_this_format_are_read() {
        // Golden bytes: never to be changed for format 1.
        let name = OnceKey::Player { player: ann(), actor: ActorId(3), seq: 7 };
        let region = RegionName::new("us").expect("a name");
        let names = [
            (OnceKey::Mention { player: ann(), actor: ActorId(3), seq: 7 }, "019281a16d93a3616e6e0307c4026869"),
            (name.clone(), "019281a17093a3616e6e0307c4026869"),
            (
                OnceKey::Entry { room: "sector:4".parse().expect("a room"), entry: EntryId::new(9, 2), n: 1 },
                "019281a16593a8736563746f723a34a3392d3201c4026869",
            ),
            (OnceKey::Backend("noon".parse().expect("a name")), "019281a16ba46e6f6f6ec4026869"),
            (OnceKey::From { region, name: Box::new(name) }, "019281a17292a2757381a17093a3616e6e0307c4026869"),
        ];
        for (name, golden) in names {
            let bytes = encode(&name, b"hi");
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden);
            assert_eq!(decode(&bytes), Some((name, Bytes::from_static(b"hi"))));
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), None, "cut to {end}");
            }
        }
        assert_eq!(decode(b"hello"), None);
    }

    #[test]
    fn an_item_is_named_after_its_region_once() {
        let (us, eu) = (RegionName::new("us").expect("a name"), RegionName::new("eu").expect("a name"));
        let here = encode(&OnceKey::Player { player: ann(), actor: ActorId(3), seq: 7 }, b"hi");
        let (name, there) = from_region(&us, &here).expect("readable");
        assert_eq!(name.to_string(), "us/ann:3:7");
        assert_eq!(decode(&there), Some((name, Bytes::from_static(b"hi"))));
        assert_eq!(from_region(&eu, &there), None, "only its own region passes it on");
    }
}
