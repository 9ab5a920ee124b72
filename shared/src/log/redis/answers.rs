//! Reads what scripts and commands answer. A wrong shape is `LogError::Corrupt`, never a panic.

use std::str::FromStr;

use bytes::Bytes;
use redis::Value;

use crate::log::{LogError, LogResult};

/// A list of words, read from the front.
#[derive(Debug)]
pub(super) struct Answer {
    from: &'static str,
    words: std::vec::IntoIter<Value>,
}

impl Answer {
    /// `from` names the script or command in errors.
    pub(super) fn of(from: &'static str, value: Value) -> LogResult<Self> {
        let words = match value {
            Value::Array(words) => words,
            // HGETALL and XREAD over RESP3.
            Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => return Err(wrong(from)),
        };
        Ok(Self { from, words: words.into_iter() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.as_slice().is_empty()
    }

    pub(super) fn value(&mut self) -> LogResult<Value> {
        self.words.next().ok_or_else(|| wrong(self.from))
    }

    pub(super) fn bytes(&mut self) -> LogResult<Bytes> {
        self.optional_bytes()?.ok_or_else(|| wrong(self.from))
    }

    /// `None` for a missing hash field or key.
    pub(super) fn optional_bytes(&mut self) -> LogResult<Option<Bytes>> {
        match self.value()? {
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::SimpleString(text) => Ok(Some(text.into())),
            Value::Int(number) => Ok(Some(number.to_string().into())),
            Value::Nil => Ok(None),
            _ => Err(wrong(self.from)),
        }
    }

    pub(super) fn text(&mut self) -> LogResult<String> {
        self.optional_text()?.ok_or_else(|| wrong(self.from))
    }

    pub(super) fn optional_text(&mut self) -> LogResult<Option<String>> {
        let from = self.from;
        let bytes = self.optional_bytes()?;
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).map_err(|_| wrong(from))).transpose()
    }

    pub(super) fn parse<T: FromStr>(&mut self) -> LogResult<T> {
        let from = self.from;
        self.text()?.parse().map_err(|_| wrong(from))
    }

    /// `None` where the text is empty.
    pub(super) fn parse_unless_empty<T: FromStr>(&mut self) -> LogResult<Option<T>> {
        let from = self.from;
        let text = self.text()?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong(from)) }
    }

    pub(super) fn list(&mut self) -> LogResult<Answer> {
        let value = self.value()?;
        Answer::of(self.from, value)
    }

    /// The items of the one stream in an answer of XREAD: `[[key, items]]`.
    pub(super) fn stream_of_one(mut self) -> LogResult<Answer> {
        let mut stream = self.list()?;
        stream.bytes()?;
        stream.list()
    }

    /// True for the one word, false for the other.
    pub(super) fn is_word(&mut self, yes: &str, no: &str) -> LogResult<bool> {
        match self.text()?.as_str() {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            other => self.unknown(other),
        }
    }

    /// The error for an outcome this script does not have.
    pub(super) fn unknown<T>(&self, outcome: &str) -> LogResult<T> {
        Err(LogError::Corrupt(format!("{} answered {outcome:?}", self.from)))
    }
}

/// Stream items as (id, value of their one field), as XRANGE and XREAD list them.
pub(super) fn stream_items<Id: FromStr>(mut items: Answer) -> LogResult<Vec<(Id, Bytes)>> {
    let mut found = Vec::new();
    while !items.is_empty() {
        let mut item = items.list()?;
        let id = item.parse()?;
        let mut fields = item.list()?;
        fields.bytes()?;
        found.push((id, fields.bytes()?));
    }
    Ok(found)
}

pub(super) fn wrong(from: &str) -> LogError {
    LogError::Corrupt(format!("{from}: an answer of the wrong shape"))
}
