//! Reading JSON that anybody may have written: what is wrong with it is told with its place, and no
//! name stands for two things.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::error::place;

/// The value of a JSON text.
///
/// # Errors
/// What is wrong, in words, and where.
pub fn parse<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, String> {
    parse_part(json, 0..json.len())
}

/// The value of a part of a text.
///
/// # Errors
/// As [`parse`], with the place in the whole text.
pub fn parse_part<'de, T: Deserialize<'de>>(
    text: &'de [u8],
    part: Range<usize>,
) -> Result<T, String> {
    let begin = part.start;
    let json = &text[part];
    serde_json::from_slice(json).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let what = e.to_string();
        let what = what.strip_suffix(&format!(" at line {line} column {column}"));
        let lines = json.split_inclusive(|&b| b == b'\n');
        let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
        let place = place(text, begin + before + column);
        format!("{} {place}", what.unwrap_or(&e.to_string()))
    })
}

/// The entries of an object, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// A name that is there twice, of which JSON does not say which one counts.
pub fn distinct<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    from: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    struct Entries<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if entries.contains_key(&name) {
                    return Err(A::Error::custom(format!("{name:?} is there twice")));
                }
                let value = map.next_value()?;
                entries.insert(name, value);
            }
            Ok(entries)
        }
    }

    from.deserialize_map(Entries(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Counts(#[serde(deserialize_with = "distinct")] BTreeMap<String, u32>);

    #[test]
    fn names_are_distinct() {
        let counts: Counts = parse(br#"{"a": 1, "b": 2}"#).unwrap();
        assert_eq!(counts.0["b"], 2);
        for twice in [
            &br#"{"a": 1, "a": 1}"#[..],
            b"{\"b\": 1, \"a\": 1, \"\\u0061\": 2}",
        ] {
            let error = parse::<Counts>(twice).unwrap_err();
            assert!(error.starts_with("\"a\" is there twice"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        let error = parse::<Counts>(b"{\n  \"a\": 1,\n  \"b\": \"two\"\n}").unwrap_err();
        let expected = "invalid type: string \"two\", expected u32 in line 3, at `\"b\": \"two\"`";
        assert_eq!(error, expected);
    }
}
