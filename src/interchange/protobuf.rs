//! Writing protocol buffers: the wire format alone
//! (<https://protobuf.dev/programming-guides/encoding/>). A field is a key, its number and the type
//! of what follows, and a value.

/// A message: its fields, encoded.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<u8>);

/// What follows a key.
const VARINT: u64 = 0;
const BITS_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const BITS_32: u64 = 5;

impl Message {
    /// A message without fields.
    pub fn new() -> Self {
        Message::default()
    }

    /// Adds a field of type int64, int32 or an enumeration.
    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.key(field, VARINT);
        // Two's complement.
        self.varint(value as u64);
        self
    }

    /// Adds a field of type float.
    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, BITS_32);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a field of type double.
    pub fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, BITS_64);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a field of type bytes.
    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// Adds a field of type string.
    pub fn string(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a field that is a message.
    pub fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    /// Adds a field once for each message: a repeated one.
    pub fn messages(self, field: u64, values: impl IntoIterator<Item = Message>) -> Self {
        let add = |message: Message, value| message.message(field, value);
        values.into_iter().fold(self, add)
    }

    /// The encoded message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_specification_encodes_them() {
        // Its examples: field 1 = 150; field 2 = "testing"; field 3 = the first message.
        let number = Message::new().int(1, 150);
        assert_eq!(number.clone().into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::new().string(2, "testing").into_bytes();
        assert_eq!(text, b"\x12\x07testing");
        let nested = Message::new().message(3, number).into_bytes();
        assert_eq!(nested, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        // A negative number takes ten bytes.
        let minus_two = Message::new().int(1, -2).into_bytes();
        assert_eq!(minus_two[..2], [0x08, 0xfe]);
        assert_eq!((minus_two.len(), minus_two[10]), (11, 0x01));
        let fixed = Message::new().float(2, 1.0).double(1, 1.0).into_bytes();
        assert_eq!(
            fixed,
            [0x15, 0, 0, 0x80, 0x3f, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]
        );
    }
}
