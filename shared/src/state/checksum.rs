//! The checksum of state: an order-independent sum of one 32-bit hash per field, easy to compute in any language.
//! Knows nothing of who owns a field; own fields are hashed under alias 0.
//!
//! `hash = fmix32(fnv1a32(canonical))`, canonical being the UTF-8 text `<alias>:<field number>:i<decimal>` or
//! `<alias>:<field number>:s<text>`. Integer 0 contributes 0, like an absent field. Sums wrap at 2^32.
//! Vectors for other languages: `shared/vectors/state.json`.

use crate::ids::Alias;
use crate::value::{Field, Value};

/// What one field adds to the sum of its part.
pub fn field_hash(entity: Alias, field: Field, value: &Value) -> u32 {
    let prefix = |text: &[u8]| {
        let hash = fnv1a32_decimal(FNV_OFFSET, u64::from(entity.0));
        let hash = fnv1a32(hash, b":");
        let hash = fnv1a32_decimal(hash, u64::from(field.0));
        fnv1a32(hash, text)
    };
    match value {
        Value::Int(0) => 0,
        Value::Int(n) if *n < 0 => fmix32(fnv1a32_decimal(prefix(b":i-"), n.unsigned_abs())),
        Value::Int(n) => fmix32(fnv1a32_decimal(prefix(b":i"), n.unsigned_abs())),
        Value::Text(text) => fmix32(fnv1a32(prefix(b":s"), text.as_bytes())),
    }
}

/// The sum of all fields of one entity.
pub fn fields_sum<'a>(entity: Alias, fields: impl IntoIterator<Item = (&'a Field, &'a Value)>) -> u32 {
    fields.into_iter().fold(0, |sum, (field, value)| sum.wrapping_add(field_hash(entity, *field, value)))
}

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

fn fnv1a32(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Continues the hash with the decimal digits of `n`, without allocating them.
fn fnv1a32_decimal(hash: u32, mut n: u64) -> u32 {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return fnv1a32(hash, &digits[start..]);
        }
    }
}

/// Spreads FNV's weak low bits over the word (finaliser of MurmurHash3, public domain), so that sums of similar
/// fields do not cancel out.
fn fmix32(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_canonical_text() {
        let whole = |text: &str| fmix32(fnv1a32(FNV_OFFSET, text.as_bytes()));
        assert_eq!(field_hash(Alias(7), Field(5), &Value::Int(120)), whole("7:5:i120"));
        assert_eq!(field_hash(Alias(0), Field(9), &Value::Int(-1)), whole("0:9:i-1"));
        assert_eq!(field_hash(Alias(4_294_967_295), Field(255), &Value::Int(i64::MIN)), {
            whole("4294967295:255:i-9223372036854775808")
        });
        assert_eq!(field_hash(Alias(1), Field(3), &Value::from("Zoë 🚀")), whole("1:3:sZoë 🚀"));
        assert_eq!(field_hash(Alias(1), Field(3), &Value::from("")), whole("1:3:s"));
        assert_ne!(field_hash(Alias(1), Field(3), &Value::from("1")), field_hash(Alias(1), Field(3), &Value::Int(1)));
    }

    #[test]
    fn zero_counts_like_absent() {
        assert_eq!(field_hash(Alias(3), Field(9), &Value::Int(0)), 0);
    }
}
