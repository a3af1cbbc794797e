//! Structure from bytes, for targets whose inputs a fuzzer would hardly ever guess.
//!
//! Read from the front, so that a small change of the bytes is a small change of what is drawn, and frozen: a stored input
//! must stay the same input.

/// Bytes that choices are made from. When they end, all further choices are zero.
#[derive(Clone)]
pub struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub fn pair(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`, from as many bytes as it takes; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % end,
            _ => usize::from(self.pair()) % end,
        }
    }

    /// Up to 65,535 bytes, their number first.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(match self.byte() {
            0xff => self.pair(),
            short => short.into(),
        });
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
