//! What is called and answered: a JSON-like value that both codecs write alike. Checked as it enters; what it means is
//! between a client and a worker.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{CALL_BODY_DEPTH_MAX, INT_ABS_MAX, KEY_NOT_ACCEPTED};

/// Text, integer within ±(2^53 − 1), bool, null, list, or map with text keys, of which none is `__proto__`. No fractions:
/// clients would read them differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Body>),
    Map(BTreeMap<String, Body>),
}

impl Body {
    /// As workers read and write it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("only text keys")
    }

    /// Reads JSON text of at most `bytes_max` bytes. Errors are for the text's author.
    pub fn from_json(text: &[u8], bytes_max: usize) -> Result<Body, String> {
        if text.len() > bytes_max {
            return Err(format!("body: at most {bytes_max} bytes"));
        }
        let body: Body = serde_json::from_slice(text).map_err(|error| format!("body: {error}"))?;
        body.check_depth()?;
        Ok(body)
    }

    /// As a client sent it: at most `bytes_max` bytes as JSON.
    pub(super) fn check(&self, bytes_max: usize) -> Result<(), String> {
        self.check_depth()?;
        if self.to_json().len() > bytes_max { Err(format!("body: at most {bytes_max} bytes as JSON")) } else { Ok(()) }
    }

    fn check_depth(&self) -> Result<(), String> {
        if self.depth() > CALL_BODY_DEPTH_MAX {
            return Err(format!("body: nested deeper than {CALL_BODY_DEPTH_MAX}"));
        }
        Ok(())
    }

    /// Parsers bound what this recurses into.
    fn depth(&self) -> usize {
        match self {
            Body::List(items) => 1 + items.iter().map(Body::depth).max().unwrap_or(0),
            Body::Map(map) => 1 + map.values().map(Body::depth).max().unwrap_or(0),
            Body::Null | Body::Bool(_) | Body::Int(_) | Body::Text(_) => 0,
        }
    }

    /// A map's value.
    pub fn get(&self, key: &str) -> Option<&Body> {
        match self {
            Body::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Body::Text(text.to_owned())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Body::Null => serializer.serialize_unit(),
            Body::Bool(truth) => serializer.serialize_bool(*truth),
            Body::Int(n) => serializer.serialize_i64(*n),
            Body::Text(text) => serializer.serialize_str(text),
            Body::List(items) => serializer.collect_seq(items),
            Body::Map(map) => serializer.collect_map(map),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, an integer, a bool, null, a list or a map with text keys")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Body, E> {
                Ok(Body::Null)
            }
            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Body, E> {
                Ok(Body::Bool(truth))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Body, E> {
                let is_safe = (-INT_ABS_MAX..=INT_ABS_MAX).contains(&n);
                if is_safe { Ok(Body::Int(n)) } else { Err(E::custom("an integer beyond 2^53 - 1")) }
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Body, E> {
                self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Body, E> {
                Ok(Body::from(text))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Body::List(items))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Body, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry::<String, Body>()? {
                    if key == KEY_NOT_ACCEPTED {
                        return Err(de::Error::custom(format!("a key {KEY_NOT_ACCEPTED} is not accepted")));
                    }
                    if map.insert(key, value).is_some() {
                        return Err(de::Error::custom("a key is there twice"));
                    }
                }
                Ok(Body::Map(map))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Body, String> {
        Body::from_json(text.as_bytes(), 4096)
    }

    #[test]
    fn a_body_is_what_every_client_reads_exactly() {
        let text = r#"{"a":[1,-2,true,null,"x"],"b":{}}"#;
        assert_eq!(String::from_utf8(read(text).unwrap().to_json()).unwrap(), text);
        for bad in ["", "1.5", "9007199254740992", r#"{"a":1,"a":2}"#, "[1", "[] []", "{1:2}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_javascript_refuses_is_not_accepted_anywhere_in_a_body() {
        for bad in [r#"{"__proto__":1}"#, r#"[{"a":{"__proto__":{}}}]"#, r#"{"\u005f_proto__":null}"#] {
            assert!(read(bad).unwrap_err().contains("__proto__ is not accepted"), "{bad}");
        }
        let msgpack = b"\x81\xa9__proto__\x01";
        assert!(rmp_serde::from_slice::<Body>(msgpack).unwrap_err().to_string().contains("not accepted"));
        assert!(read(r#"{"__proto":1,"constructor":"__proto__"}"#).is_ok());
    }

    #[test]
    fn a_body_is_neither_too_deep_nor_too_long() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(CALL_BODY_DEPTH_MAX)).is_ok());
        assert!(read(&nested(CALL_BODY_DEPTH_MAX + 1)).is_err());
        assert!(read(&nested(1_000)).is_err());
        assert!(read(&format!("\"{}\"", "x".repeat(4094))).is_ok());
        assert!(read(&format!("\"{}\"", "x".repeat(4095))).is_err());
    }
}
