//! Rust text as tokens, without comments and without what stands inside literals, so that a rule never trips over
//! prose. Not a parser: it knows just enough of the language's lexical rules.

/// An identifier, `::`, or one other character of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(is_word_char)
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let code = without_comments_and_literals(text);
    let mut tokens = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let bytes = if is_word_char(first) {
                rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(bytes);
            if !first.is_whitespace() {
                tokens.push(Token { text: token.to_owned(), line: at + 1 });
            }
            rest = after;
        }
    }
    tokens
}

/// The same number of lines; a literal becomes `""`, a comment nothing.
fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let skipped = match length_of_prose(rest, before) {
            Some(bytes) => {
                if !rest.starts_with('/') {
                    out.push_str("\"\"");
                }
                out.extend(rest[..bytes].chars().filter(|c| *c == '\n'));
                before = ' ';
                bytes
            }
            None => {
                out.push(first);
                before = first;
                first.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    out
}

/// Bytes of the comment or literal that `rest` begins with, if it does. `before` is the character before it.
fn length_of_prose(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(length_of_block_comment(rest));
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        return Some(1 + length_to_quote(quoted, '"'));
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        return length_of_char(quoted).map(|bytes| bytes + 1);
    }
    if is_word_char(before) {
        return None;
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = raw[hashes..].strip_prefix('"')?;
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

fn length_of_block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Bytes up to and including the closing quote.
fn length_to_quote(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

/// Bytes of a character literal after its opening quote; `None` for a lifetime.
fn length_of_char(quoted: &str) -> Option<usize> {
    let mut chars = quoted.chars();
    match chars.next()? {
        '\\' => Some(length_to_quote(quoted, '\'')),
        first if chars.next() == Some('\'') => Some(first.len_utf8() + 1),
        _ => None,
    }
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" 'i' '\\'' r#\"j \" k\"# &'l str\nfor_k(b\"x\")";
    let words: Vec<String> = tokens(text).into_iter().filter(Token::is_word).map(|t| t.text).collect();
    assert_eq!(words, ["a", "e", "l", "str", "for_k", "b"]);
    assert_eq!(tokens(text).last().map(|t| t.line), Some(3));
}
